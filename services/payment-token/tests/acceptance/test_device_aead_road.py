"""Terminals of the scheme device-aead through the running service: what they may send, and what nobody may."""

import base64
import uuid
from typing import Any

import httpx
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.virtual_terminal import AEADTerminal
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.sensitive import SecretKey
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PART, PAYLOAD, check_problem
from tests.support.requests import Change, setting, without

CARD = PUBLISHED_CARDS[0]
BDK_ID = "default-device-aead"
EVERYTHING = ["pan", "expiry", "cardholder_name", "sad"]


def good_body(deployment: Deployment, part: PartFormat = PartFormat.TRACK2) -> dict[str, Any]:
    return deployment.terminal(BDK_ID).create_body(MERCHANT, CARD, part)


def terminal_of(deployment: Deployment, device_id: str, key_epoch: int) -> AEADTerminal:
    """As a key-injection facility makes one, with an epoch of the test's choice."""
    name = AEADKeyName.checked(MerchantId(MERCHANT), DeviceId(device_id), key_epoch)
    bdk = deployment.bdk(BDK_ID)
    key: SecretKey = deployment.with_custodians(lambda custodians: custodians.device_key(bdk, name))
    return AEADTerminal(name, key)


def refused_field(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    check_problem(answer)
    return str(answer.json()["detail"].partition(":")[0])


@pytest.mark.parametrize(
    "part",
    [PartFormat.TRACK1, PartFormat.TRACK2, PartFormat.EMV_TLV, PartFormat.CARD_JSON],
)
def test_a_read_becomes_a_token_and_comes_back(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    part: PartFormat,
) -> None:
    created = service.create(pos, good_body(deployment, part))

    assert created.status_code == 201, created.text
    assert (created.json()["card"]["bin"], created.json()["card"]["last4"]) == ("411111", "1111")
    released = service.release(worker, created.json()["payment_token"], fields=EVERYTHING)
    assert released.status_code == 200, released.text
    data = released.json()["payment_data"]
    assert (data["pan"], data["exp_month"], data["exp_year"]) == (CARD.pan, 12, 2030)


def test_a_registered_terminal_need_not_say_its_scheme(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    deployment.run_here(
        *("devices", "register", "--device-id", "aead-1"),
        *("--merchant", MERCHANT, "--bdk", BDK_ID),
    )
    body = terminal_of(deployment, "aead-1", 1).create_body(MERCHANT, CARD, PartFormat.TRACK2)
    del body[PAYLOAD]["scheme"]

    assert service.create(pos, body).status_code == 201
    body[PAYLOAD]["scheme"] = "dukpt-aes"
    assert refused_field(service.create(pos, body)) == f"{PAYLOAD}.scheme"


@pytest.mark.parametrize("key_epoch", [0, 1, 2**32 - 1])
def test_every_epoch_of_32_bits(
    deployment: Deployment, service: RunningService, pos: httpx.Client, key_epoch: int
) -> None:
    terminal = terminal_of(deployment, f"aead-{uuid.uuid4().hex[:8]}", key_epoch)
    body = terminal.create_body(MERCHANT, CARD, PartFormat.TRACK2)
    assert body[PAYLOAD]["key_epoch"] == key_epoch
    assert service.create(pos, body).status_code == 201


def test_a_new_epoch_is_a_new_key_of_the_same_terminal(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    device_id = f"aead-{uuid.uuid4().hex[:8]}"
    terminals = {epoch: terminal_of(deployment, device_id, epoch) for epoch in (1, 2)}
    for key_epoch in (1, 2, 1):
        body = terminals[key_epoch].create_body(MERCHANT, CARD, PartFormat.TRACK2)
        assert service.create(pos, body).status_code == 201
        body[PAYLOAD]["key_epoch"] += 1
        answer = service.create(pos, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "decryption_failed")


FIELDS: list[tuple[str, Change, str]] = [
    ("a KSN", setting(f"{PAYLOAD}.ksn", "123456789012345600000001"), "ksn"),
    ("an empty KSN", setting(f"{PAYLOAD}.ksn", ""), "ksn"),
    ("a key variant", setting(f"{PAYLOAD}.key_variant", "data-request"), "key_variant"),
    ("a cipher", setting(f"{PAYLOAD}.cipher", "aes-256"), "cipher"),
    ("a mode", setting(f"{PAYLOAD}.mode", "cbc"), "mode"),
    ("an IV", setting(f"{PAYLOAD}.iv", "00" * 16), "iv"),
    ("no epoch", without(f"{PAYLOAD}.key_epoch"), "key_epoch"),
    ("epoch null", setting(f"{PAYLOAD}.key_epoch", None), "key_epoch"),
    ("epoch below 0", setting(f"{PAYLOAD}.key_epoch", -1), "key_epoch"),
    ("epoch of 33 bits", setting(f"{PAYLOAD}.key_epoch", 2**32), "key_epoch"),
    ("epoch beyond all bounds", setting(f"{PAYLOAD}.key_epoch", 10**400), "key_epoch"),
    ("epoch as a text", setting(f"{PAYLOAD}.key_epoch", "1"), "key_epoch"),
    ("epoch with a fraction", setting(f"{PAYLOAD}.key_epoch", 1.5), "key_epoch"),
    ("epoch as a float", setting(f"{PAYLOAD}.key_epoch", 1.0), "key_epoch"),
    ("epoch as a boolean", setting(f"{PAYLOAD}.key_epoch", True), "key_epoch"),
    ("epoch as a list", setting(f"{PAYLOAD}.key_epoch", [1]), "key_epoch"),
    ("no scheme and no KSN", without(f"{PAYLOAD}.scheme"), "scheme"),
    ("dukpt-aes with an epoch", setting(f"{PAYLOAD}.scheme", "dukpt-aes"), "key_epoch"),
    ("dukpt-tdes with an epoch", setting(f"{PAYLOAD}.scheme", "dukpt-tdes"), "key_epoch"),
]


@pytest.mark.parametrize(
    ("change", "name"), [pytest.param(*case[1:], id=case[0]) for case in FIELDS]
)
def test_a_field_that_is_wrong_missing_or_not_of_this_scheme(
    deployment: Deployment, service: RunningService, pos: httpx.Client, change: Change, name: str
) -> None:
    body = good_body(deployment)
    change(body)
    assert refused_field(service.create(pos, body)) == f"{PAYLOAD}.{name}"


@pytest.mark.parametrize("bdk_id", ["default-aes-128", "default-tdes-2key"])
def test_dukpt_takes_no_epoch_and_needs_its_ksn(
    deployment: Deployment, service: RunningService, pos: httpx.Client, bdk_id: str
) -> None:
    both = deployment.terminal(bdk_id).create_body(MERCHANT, CARD, PartFormat.TRACK2)
    both[PAYLOAD]["key_epoch"] = 1
    assert refused_field(service.create(pos, both)) == f"{PAYLOAD}.key_epoch"

    neither = deployment.terminal(bdk_id).create_body(MERCHANT, CARD, PartFormat.TRACK2)
    del neither[PAYLOAD]["ksn"]
    assert refused_field(service.create(pos, neither)) == f"{PAYLOAD}.ksn"


@pytest.mark.parametrize("length", [1, 12, 16, 28])
def test_a_ciphertext_without_room_for_nonce_and_tag(
    deployment: Deployment, service: RunningService, pos: httpx.Client, length: int
) -> None:
    body = good_body(deployment)
    setting(f"{PART}.ciphertext", base64.b64encode(bytes(length)).decode())(body)
    assert refused_field(service.create(pos, body)) == f"{PAYLOAD}.parts.ciphertext"


def changed_bit(body: dict[str, Any], place: int) -> None:
    part = body[PAYLOAD]["parts"][0]
    raw = bytearray(base64.b64decode(part["ciphertext"]))
    raw[place] ^= 1
    part["ciphertext"] = base64.b64encode(raw).decode()


TAMPERED: list[tuple[str, Change]] = [
    ("a bit of the nonce", lambda body: changed_bit(body, 11)),
    ("a bit of the ciphertext", lambda body: changed_bit(body, 12)),
    ("a bit of the tag", lambda body: changed_bit(body, -1)),
    ("another device", setting("device_id", "aead-another")),
    ("another epoch", setting(f"{PAYLOAD}.key_epoch", 2)),
    ("another format", setting(f"{PART}.format", "track1")),
    (
        "the shortest ciphertext",
        setting(f"{PART}.ciphertext", base64.b64encode(bytes(29)).decode()),
    ),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in TAMPERED])
def test_a_payload_that_its_terminal_did_not_make_so(
    deployment: Deployment, service: RunningService, pos: httpx.Client, change: Change
) -> None:
    body = good_body(deployment)
    change(body)
    answer = service.create(pos, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "decryption_failed")
    assert answer.json()["hint"] == "tag"
    check_problem(answer)


def test_another_merchant_cannot_send_what_it_overheard(
    deployment: Deployment, service: RunningService
) -> None:
    body = good_body(deployment)
    secret = deployment.run("api-keys", "create", "--merchant", "m_thief").stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as thief:
        answer = service.create(thief, body | {"merchant_id": "m_thief"})
    assert (answer.status_code, answer.json()["code"]) == (422, "decryption_failed")


def test_a_retry_is_the_same_token_and_another_epoch_is_another_request(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body, key = good_body(deployment), str(uuid.uuid4())
    first = service.create(pos, body, key)
    again = service.create(pos, body, key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()

    for change in (
        setting(f"{PAYLOAD}.key_epoch", 2),
        without(f"{PAYLOAD}.key_epoch"),
        lambda changed: changed_bit(changed, -1),
        # Read as text, the epoch must not pass for a KSN.
        lambda changed: changed[PAYLOAD].update(ksn="epoch 1", key_epoch=None),
    ):
        other = {**body, PAYLOAD: {**body[PAYLOAD], "parts": [dict(body[PAYLOAD]["parts"][0])]}}
        change(other)
        answer = service.create(pos, other, key)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_refused_payload_may_be_corrected_under_its_key(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body, key = good_body(deployment), str(uuid.uuid4())
    wrong = {**body, PAYLOAD: {**body[PAYLOAD], "key_epoch": 9}}
    assert service.create(pos, wrong, key).json()["code"] == "decryption_failed"
    assert service.create(pos, body, key).status_code == 201
