"""Payloads that decrypt to what is no card: all alike from outside. And cards that only strict checks refuse."""

from typing import Any

import httpx
import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, payload_key
from payment_token.domain.payload_cipher import encrypt
from payment_token.domain.sensitive import SensitiveBytes
from tests.support.deployment import Deployment, RunningService
from tests.support.problems import PAYLOAD, b64, check_problem


def encrypted(deployment: Deployment, *parts: tuple[PartFormat, bytes]) -> dict[str, Any]:
    """A body whose parts decrypt to exactly this."""
    body = deployment.body()
    ksn = KSN.from_hex(body[PAYLOAD]["ksn"], Scheme.DUKPT_AES)
    initial_key = deployment.with_custodians(
        lambda custodians: custodians.initial_key(deployment.bdk(), ksn)
    )
    transaction_key = DerivationPath(ksn.scheme, initial_key).transaction_key(ksn)
    key = payload_key(transaction_key, ksn, KeyVariant.DATA_REQUEST, Cipher.AES_128)
    body[PAYLOAD]["parts"] = [
        {
            "format": format_,
            "ciphertext": b64(
                encrypt(
                    key,
                    Cipher.AES_128,
                    Mode.CBC,
                    None,
                    SensitiveBytes(clear + bytes(-len(clear) % 16)),
                )
            ),
        }
        for format_, clear in parts
    ]
    return body


def tlv(text: str) -> tuple[PartFormat, bytes]:
    return PartFormat.EMV_TLV, bytes.fromhex(text)


TRACK2 = PartFormat.TRACK2
WRONG_PLAINTEXTS = {
    "nothing but padding": [(TRACK2, bytes(16))],
    "prose": [(TRACK2, b"this is not a card")],
    "a letter in the PAN": [(TRACK2, b";411111111111111A=30122010000000000000?")],
    "a PAN of 20 digits": [(TRACK2, b";41111111111111111111=3012201?")],
    "a PAN of 11 digits": [(TRACK2, b";41111111111=3012201?")],
    "track 3 alone": [(PartFormat.TRACK3, b"+5163499080020445=000000000000?")],
    "two PANs": [
        (TRACK2, b";4111111111111111=3012201?"),
        (PartFormat.CARD_JSON, b'{"pan": "5555555555554444"}'),
    ],
    "two expiries": [
        (TRACK2, b";4111111111111111=3012201?"),
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "exp_month": 11, "exp_year": 2030}'),
    ],
    "the same format twice": [(TRACK2, b";4111111111111111=3012201?")] * 2,
    "truncated TLV": [tlv("5A084111111111111111" + "5F2050")],
    "TLV without a length": [tlv("5A")],
    "TLV of endless length": [tlv("5A84FFFFFFFF4111")],
    "TLV nested too deep": [
        tlv("E1" + "".join(f"{length:02X}E1" for length in range(40, 0, -2)) + "00")
    ],
    "PIN block": [tlv("5A084111111111111111" + "99080123456789ABCDEF")],
    "TLV without a card": [tlv("9F0206000000000100")],
    "JSON that is none": [(PartFormat.CARD_JSON, b'{"pan": ')],
    "JSON with a PIN": [(PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "pin": "1234"}')],
    "JSON with something else": [
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "amount": 1}')
    ],
    "JSON nested deep": [(PartFormat.CARD_JSON, b"[" * 3000)],
    "a month that is none": [
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "exp_month": 100, "exp_year": 2030}')
    ],
}


@pytest.mark.parametrize("name", WRONG_PLAINTEXTS)
def test_a_wrong_plaintext_looks_like_any_other(
    deployment: Deployment, service: RunningService, pos: httpx.Client, name: str
) -> None:
    answer = service.create(pos, encrypted(deployment, *WRONG_PLAINTEXTS[name]))
    check_problem(answer)

    problem = answer.json()
    assert isinstance(problem.pop("hint"), str)
    del problem["request_id"]
    assert problem == {
        "type": "urn:payment-token:error:decryption_failed",
        "title": "Decryption failed",
        "status": 422,
        "code": "decryption_failed",
        "detail": "The payload did not decrypt to card data. Check key, KSN, key variant, cipher and format.",
    }


FLAWED = {
    "Luhn": (
        b";4111111111111112=30122010000000000000?",
        {"luhn": False, "expired": False, "expiry_valid": True},
    ),
    "month 82": (
        b";4111111111111111=37822010000000000000?",
        {"luhn": True, "expired": False, "expiry_valid": False},
    ),
}


@pytest.mark.parametrize("name", FLAWED)
def test_lenient_takes_and_flags_what_strict_refuses(
    deployment: Deployment,
    service: RunningService,
    strict_service: RunningService,
    pos: httpx.Client,
    name: str,
) -> None:
    clear, checks = FLAWED[name]

    taken = service.create(pos, encrypted(deployment, (TRACK2, clear)))
    with strict_service.public() as strict_pos:
        refused = strict_service.create(strict_pos, encrypted(deployment, (TRACK2, clear)))

    assert taken.status_code == 201
    assert taken.json()["card"]["checks"] == checks
    assert (refused.status_code, refused.json()["code"]) == (422, "decryption_failed")


def test_a_card_past_its_expiry_is_taken_and_flagged_by_both(
    deployment: Deployment, service: RunningService, strict_service: RunningService
) -> None:
    for running in (service, strict_service):
        with running.public() as pos:
            body = encrypted(deployment, (TRACK2, b";4111111111111111=20012010000000000000?"))
            taken = running.create(pos, body)
        assert taken.status_code == 201
        assert taken.json()["card"]["checks"] == {
            "luhn": True,
            "expired": True,
            "expiry_valid": True,
        }
