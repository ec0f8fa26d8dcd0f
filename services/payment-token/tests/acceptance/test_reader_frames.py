"""Readers' whole messages through the running service: the published ones give tokens, and what is wrong is refused by name."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from payment_token.api.rest.token_models import FRAME_LIMIT_BYTES
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.readers import magtek_emv
from payment_token.domain.device_payload import KeyVariant, Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.dukpt.retail_mac import retail_mac
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PART, check_nothing_was_a_defect, check_problem
from tests.support.reader_frames import PUBLISHED, IDTECHSwipe, in_envelope, published
from tests.support.readers import BUILDERS, TRACKS, built, encrypting, mac_key
from tests.support.rpc import RPCAnswer, RPCClient, create_message, rpc_client

SWIPES = (ORIGINAL, ENHANCED, MAGTEK) = (
    "idtech-original-01",
    "idtech-enhanced-03",
    "magtek-kb-string-08",
)
CHIP = "idtech-emv-tlv-tdes"
EVERYTHING = ["pan", "expiry", "cardholder_name", "sad"]
FRAME = "encrypted_payload.parts.frame"
PROTOCOLS = ("rest", "grpc")
over_both = pytest.mark.parametrize("protocol", PROTOCOLS)
each_message = pytest.mark.parametrize("name", SWIPES)

BDK = "0123456789ABCDEFFEDCBA9876543210"


@dataclass
class World:
    service: RunningService
    pos: httpx.Client
    worker: httpx.Client
    rpc: RPCClient

    def send(self, body: dict[str, Any], protocol: str = "rest") -> tuple[str, str]:
        """Its code, empty for a success, and its token or detail."""
        key = uuid.uuid4().hex
        if protocol == "grpc":
            document = {**body, "idempotency_key": key}
            answer: RPCAnswer = self.rpc.call("CreateToken", create_message(document))
            if answer.message is None:
                return answer.code.lower(), answer.detail
            token: str = answer.message.token.payment_token  # type: ignore[attr-defined]
            return answer.code, token
        response = self.pos.post("/v1/payment-tokens", json=body, headers={"Idempotency-Key": key})
        if response.status_code != 201:
            check_problem(response)
            return response.json()["code"], response.json()["detail"]
        return "", response.json()["payment_token"]


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A key and a device for each test of each message: an initial key belongs to one device."""
    devices = [device_of(name, protocol) for name in PUBLISHED for protocol in PROTOCOLS]
    for device in [*devices, *BUILDERS, "frames", "frames-aead"]:
        algorithm = "device-aead" if device == "frames-aead" else "tdes-2key"
        component = BDK * 2 if device == "frames-aead" else BDK
        allowed = () if device == "frames-aead" else ("--allow-pin-variant",)
        deployment.run_here(
            *("bdk", "import", "--id", device, "--algorithm", algorithm),
            *("--component", component, *allowed),
        )
        deployment.run_here(
            *("devices", "register", "--device-id", device, "--merchant", MERCHANT),
            *("--bdk", device),
        )
    metadata = (("authorization", f"Bearer {deployment.api_key}"),)
    with (
        deployment.serving(DEBUG="true") as service,
        service.public() as pos,
        service.worker() as worker,
        rpc_client(service.urls["public_grpc"], metadata=metadata) as rpc,
    ):
        yield World(service, pos, worker, rpc)
        check_nothing_was_a_defect(service)
        check_nothing_of_a_message_was_logged(service)


def check_nothing_of_a_message_was_logged(service: RunningService) -> None:
    log = "".join(service.log_lines).upper()
    for name in PUBLISHED:
        frame, expected = published(name)
        text = base64.b64encode(frame).decode().upper()
        secrets = [text[8:40], text[-40:-8], frame[40:60].hex().upper(), expected["pan"]]
        secrets += [expected.get("name", text), expected.get("track2", text)]
        secrets += [frame[11:30].decode("latin-1").upper()]
        assert [secret[:2] for secret in secrets if secret in log] == []


def device_of(name: str, protocol: str) -> str:
    return f"{name}-{protocol}"


def body(frame: bytes, device: str = "frames", **stated: Any) -> dict[str, Any]:
    container = stated.pop("container", "idtech-msr")
    part = {"format": container, "frame": base64.b64encode(frame).decode()}
    return {
        "merchant_id": MERCHANT,
        "device_id": device,
        "encrypted_payload": {"parts": [part], **stated},
    }


def body_of(name: str, device: str, **stated: Any) -> dict[str, Any]:
    frame, _ = published(name)
    return body(frame, device, container=PUBLISHED[name][0].value, **stated)


# --- Tokens ----------------------------------------------------------------------------------------------------------


@over_both
@each_message
def test_a_published_message(world: World, name: str, protocol: str) -> None:
    _, expected = published(name)

    code, token = world.send(body_of(name, device_of(name, protocol)), protocol)

    assert code == "", token
    released = world.service.release(world.worker, token, fields=EVERYTHING).json()
    data = released["payment_data"]
    assert data["pan"] == expected["pan"]
    yymm = expected["expiry_yymm"]
    assert (data["exp_year"], data["exp_month"]) == (2000 + int(yymm[:2]), int(yymm[2:]))
    assert data["cardholder_name"] == expected["name"]
    sad = data["sad"]
    assert (sad["track1"], sad["track2"]) == (expected["track1"], expected["track2"])
    assert sad["service_code"] == expected["service_code"]
    assert expected["track3"][1:20] not in json.dumps(released)


@over_both
def test_the_published_message_of_a_chip(world: World, protocol: str) -> None:
    _, expected = published(CHIP)

    code, token = world.send(body_of(CHIP, device_of(CHIP, protocol)), protocol)

    assert code == "", token
    released = world.service.release(world.worker, token, fields=EVERYTHING).json()
    data = released["payment_data"]
    assert (data["pan"], data["exp_year"], data["exp_month"]) == (expected["pan"], 2020, 12)
    assert expected["decrypted_tlv"]["57"][4:] in data["sad"]["emv"]
    assert expected["masked"]["57"] not in data["sad"]["emv"]


@pytest.mark.parametrize("name", BUILDERS)
def test_what_readers_in_software_send(world: World, name: str) -> None:
    code, token = world.send(body(built(name), name, container=BUILDERS[name][0].value))

    assert code == "", token
    released = world.service.release(world.worker, token, fields=EVERYTHING).json()
    assert released["payment_data"]["pan"] == PUBLISHED_CARDS[0].pan


def test_a_mac_that_is_stated_is_checked(world: World) -> None:
    """Under the MAC key of the message's KSN, over all that is in front of it."""
    number = KSN.from_hex("FFFF9876543210E00009", Scheme.DUKPT_TDES)
    key = mac_key(number)

    def frame(of: SecretKey) -> dict[str, Any]:
        made = magtek_emv.with_mac(
            number,
            lambda clear: encrypting(clear, number),
            TRACKS,
            "",
            lambda message: retail_mac(of, SensitiveBytes(message))[:4],
        )
        return body(made, "magtek-emv", container="magtek-emv")

    assert world.send(frame(SecretKey(bytes(range(16)))))[0] == "decryption_failed"
    code, token = world.send(frame(key))
    assert code == "", token


def test_what_a_keyboard_types(world: World) -> None:
    frame = IDTECHSwipe().enhanced().hex().upper().encode() + b"\r\n"
    code, token = world.send(body(frame))
    assert code == "", token


def test_a_retry_and_a_batch(world: World) -> None:
    sent = body(IDTECHSwipe(ksn="62994901190000000004").enhanced())
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = world.pos.post("/v1/payment-tokens", json=sent, headers=key)
    again = world.pos.post("/v1/payment-tokens", json=sent, headers=key)
    other = body(IDTECHSwipe(ksn="62994901190000000005").enhanced())
    reused = world.pos.post("/v1/payment-tokens", json=other, headers=key)
    items = [
        sent | {"idempotency_key": key["Idempotency-Key"]},
        body(IDTECHSwipe(ksn="62994901190000000006").enhanced()) | {"idempotency_key": "frame-6"},
        body(b"\x02\x00") | {"idempotency_key": "frame-7"},
    ]
    batch = world.pos.post("/v1/payment-tokens:batch", json={"items": items}).json()["results"]

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["payment_token"] == again.json()["payment_token"]
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert [result["status"] for result in batch] == [200, 201, 422]
    assert batch[2]["problem"]["detail"].startswith(FRAME)


# --- Refusals --------------------------------------------------------------------------------------------------------


def damaged(at: int) -> bytes:
    frame = bytearray(published(ENHANCED)[0])
    frame[at] ^= 1
    return bytes(frame)


def with_damaged_hash() -> bytes:
    data = bytearray(published(ENHANCED)[0][3:-3])
    data[-11] ^= 1
    data[-40] ^= 1
    return in_envelope(bytes(data))


def of_magtek(find: bytes, put: bytes) -> dict[str, Any]:
    return body(published(MAGTEK)[0].replace(find, put), container="magtek-swipe")


@over_both
@pytest.mark.parametrize(
    ("sent", "code", "detail"),
    [
        (lambda: body(damaged(60)), "invalid_field", f"{FRAME}: the LRC does not match"),
        (lambda: body(damaged(-3)), "invalid_field", f"{FRAME}: the LRC does not match"),
        (lambda: body(damaged(-2)), "invalid_field", f"{FRAME}: the checksum does not match"),
        (
            lambda: body(published(ENHANCED)[0][:-20]),
            "invalid_field",
            f"{FRAME}: states another length than it has",
        ),
        (
            lambda: of_magtek(b"HOGAN", b"HOGUN"),
            "invalid_field",
            f"{FRAME}: the CRC does not match",
        ),
        (
            lambda: body(published(MAGTEK)[0]),
            "invalid_field",
            f"{FRAME}: does not begin with STX (02) and a length",
        ),
        (
            lambda: body(published(ORIGINAL)[0], container="magtek-swipe"),
            "invalid_field",
            f"{FRAME}: holds characters that no swipe has",
        ),
        (
            lambda: body_of(ENHANCED, "frames", ksn="62994901190000000004"),
            "invalid_field",
            "encrypted_payload.ksn: differs from what the frame states",
        ),
        (
            lambda: body_of(MAGTEK, "frames", key_variant="data-request"),
            "invalid_field",
            "encrypted_payload.key_variant: differs from what the frame states",
        ),
        (
            lambda: body_of(ENHANCED, "frames", scheme="dukpt-aes"),
            "invalid_field",
            "encrypted_payload.scheme: differs from what the frame states",
        ),
        (
            lambda: body_of(ENHANCED, "frames-aead"),
            "invalid_field",
            f"{FRAME}: a device-aead terminal sends parts, each with a ciphertext",
        ),
        (
            lambda: body(bytes(FRAME_LIMIT_BYTES + 1)),
            "invalid_field",
            f"{PART}.frame: must be at most 16384 bytes",
        ),
        (
            lambda: body(b"\x02" * FRAME_LIMIT_BYTES),
            "invalid_field",
            f"{FRAME}: states another length than it has",
        ),
        (lambda: of_magtek(b"|0600|", b"|0200|"), "cleartext_card_data", f"{FRAME}: holds what"),
        (
            lambda: body(IDTECHSwipe(masked=IDTECHSwipe().tracks, sent=0x80).enhanced()),
            "cleartext_card_data",
            f"{FRAME}: holds what",
        ),
        (lambda: body(with_damaged_hash()), "decryption_failed", "The payload did not decrypt"),
        (
            lambda: body(IDTECHSwipe(variant=KeyVariant.PIN, shown=0x03).enhanced()),
            "decryption_failed",
            "The payload did not decrypt",
        ),
    ],
)
def test_what_is_wrong_is_named(
    world: World, protocol: str, sent: Callable[[], dict[str, Any]], code: str, detail: str
) -> None:
    found_code, found_detail = world.send(sent(), protocol)

    assert (found_code, found_detail[: len(detail)]) == (code, detail)


@over_both
@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        (
            [{"format": "idtech-msr", "frame": "AAAA"}, {"format": "track2", "ciphertext": "AAAA"}],
            "encrypted_payload.parts: a frame must be the only part",
        ),
        (
            [{"format": "idtech-msr", "frame": "AAAA"}] * 2,
            "encrypted_payload.parts: a frame must be the only part",
        ),
        ([{"format": "track2", "frame": "AAAA"}], f"{PART}.format: should be 'idtech-msr', "),
        (
            [{"format": "idtech-msr", "ciphertext": "AAAA"}],
            f"{PART}: must have a frame in this format",
        ),
        (
            [{"format": "track2", "frame": "AAAA", "ciphertext": "AAAA"}],
            f"{PART}: must have a frame in this format, and no ciphertext beside a frame",
        ),
    ],
)
def test_frames_and_parts(
    world: World, protocol: str, parts: list[dict[str, str]], detail: str
) -> None:
    sent = body(b"x")
    sent["encrypted_payload"]["parts"] = parts

    code, found = world.send(sent, protocol)

    assert (code, found[: len(detail)]) == ("invalid_field", detail)


# --- Serial numbers --------------------------------------------------------------------------------------------------


def test_a_reader_is_held_to_its_registered_serial_number(
    world: World, deployment: Deployment
) -> None:
    frame = IDTECHSwipe(serial=b"706T123456").enhanced()
    for device, serial in (("serial-other", "706T123457"), ("serial-own", "706t123456")):
        deployment.run_here(
            *("bdk", "import", "--id", device, "--algorithm", "tdes-2key", "--component", BDK)
        )
        deployment.run_here(
            *("devices", "register", "--device-id", device, "--merchant", MERCHANT),
            *("--bdk", device, "--serial", serial, "--profile", "idtech-msr-tdes"),
        )

    assert world.send(body(frame, "serial-other"))[0] == "unknown_device"
    assert world.send(body(frame, "serial-own"))[0] == ""
