"""Card data in clear where a ciphertext should be: found in every form that a terminal sends it in, and in no ciphertext."""

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.cli.card_reads import card_read
from payment_token.cli.published_cards import PUBLISHED_CARDS, PublishedCard
from payment_token.domain.device_aead import NONCE_BYTES
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import CleartextCardDataError
from payment_token.domain.unencrypted import is_unencrypted, refuse_unencrypted
from tests.support.long_form import usual_or_long

TRACK1 = b"%B4111111111111111^HOGAN/PAUL^30122010000012345678?"
TRACK2 = b";4111111111111111=30122010000012345678?"
PACKED = bytes.fromhex("4111111111111111D30122010000012345678F")
TLV = bytes.fromhex("8202390095050000000000") + b"\x57\x13" + PACKED

FOUND = {
    "track 1": TRACK1,
    "track 2": TRACK2,
    "both tracks": TRACK1 + TRACK2,
    "track 2, with zeros": TRACK2.ljust(48, b"\0"),
    "track 2, with FF": TRACK2.ljust(48, b"\xff"),
    "track 2, PKCS#7": TRACK2.ljust(48, bytes([48 - len(TRACK2)])),
    "track 2 without sentinels": b"4111111111111111=30122010000012345678",
    "the number alone": b"4111111111111111",
    "the number in JSON": b'{"pan":"4111111111111111","exp":"3012"}',
    "the number among bytes": b"\x02\xfe\x80" + b"4111111111111111" + b"\x9c\x03",
    "two bytes a character": TRACK2.decode().encode("utf-16-le"),
    "two bytes a character, big-endian": TRACK2.decode().encode("utf-16-be"),
    "packed track 2": PACKED,
    "packed, with zeros": PACKED.ljust(24, b"\0"),
    "packed, with FF": PACKED.ljust(24, b"\xff"),
    "packed, with its sentinels": bytes.fromhex("B4111111111111111D30122010000012345678F0"),
    "packed, without its end": bytes.fromhex("4111111111111111D301220100000123456"[:32]),
    "EMV, tag 57": TLV,
    "EMV, tag 57 with padding": TLV.ljust(48, b"\0"),
    "EMV, tag 57 with PKCS#7": TLV.ljust(48, bytes([48 - len(TLV)])),
    "EMV, in a template": b"\xe1" + bytes([len(TLV)]) + TLV,
    "EMV, tag 5A": bytes.fromhex("5F24033012315A0841111111111111118202390095050000000000"),
    "EMV, tag 5A of 19 digits": bytes.fromhex(
        "5A0A4000000000000000006F5F3401018202390095050000000000"
    ),
    "EMV, tag 5A of 15 digits": bytes.fromhex("5A08378282246310005F5F24033012315F340101"),
    "EMV, tag 9F6B": b"\x9f\x6b\x13" + PACKED,
    "EMV behind a header of its own": b"\x02\x00\x45\x99" + TLV + b"\x99",
    "EMV, cut short behind tag 57": TLV + b"\x9f\x26\x08\x01",
    "track 2 in hexadecimal": TRACK2.hex().encode(),
    "track 2 in hexadecimal capitals, with a line's end": TRACK2.hex().upper().encode() + b"\r\n",
    "packed track 2 in hexadecimal": PACKED.hex().upper().encode(),
    "EMV in hexadecimal": TLV.hex().encode(),
    "track 2 in base64": base64.b64encode(TRACK2),
    "track 1 in base64": base64.b64encode(TRACK1),
    "packed track 2 in base64": base64.b64encode(PACKED),
    "EMV in base64": base64.b64encode(TLV),
    "track 2 in base64 without padding": base64.b64encode(TRACK2 + b"?").rstrip(b"="),
}


@pytest.mark.parametrize("data", FOUND.values(), ids=FOUND)
def test_finds(data: bytes) -> None:
    assert is_unencrypted(data)


PASSED = {
    "nothing": b"",
    "zeros": b"\0" * 48,
    "FF": b"\xff" * 48,
    "a text": b"this is not encrypted, and no card data either ",
    "digits of a wrong check": b"4111111111111112",
    "digits of no brand": b"9999999999999995",
    "more digits than a card number has": b"0" * 48,
    "packed digits": bytes.fromhex("12" * 24),
    "packed, of a wrong check": bytes.fromhex("4111111111111112D30122010000012345678F"),
    "packed, of month 13": bytes.fromhex("4111111111111111D30132010000012345678F"),
    "a masked track": b";411111******1111=3012*************?",
    "TLV without a card": bytes.fromhex("8202390095050000000000"),
    "tag 57 of something else": bytes.fromhex("5713" + "AB" * 19),
    "half of base64": b"A" * 33,
}


@pytest.mark.parametrize("data", PASSED.values(), ids=PASSED)
def test_lets_pass(data: bytes) -> None:
    assert not is_unencrypted(data)


@pytest.mark.parametrize("card", PUBLISHED_CARDS, ids=lambda card: card.pan[:6])
@pytest.mark.parametrize(
    "part", [PartFormat.TRACK1, PartFormat.TRACK2, PartFormat.EMV_TLV, PartFormat.CARD_JSON]
)
def test_finds_what_every_simulated_terminal_would_encrypt(
    card: PublishedCard, part: PartFormat
) -> None:
    assert is_unencrypted(card_read(card, part))


def test_the_refusal_names_the_field_and_nothing_else() -> None:
    refuse_unencrypted("frame", [])
    refuse_unencrypted("frame", [b"\x8f" * 16, b"\x01" * 24])
    with pytest.raises(CleartextCardDataError) as refusal:
        refuse_unencrypted("encrypted_payload.frame", [b"\x8f" * 16, TRACK2])
    assert refusal.value.detail.startswith("encrypted_payload.frame: ")
    assert "4111" not in repr(refusal.value)


def test_no_ciphertext_is_taken_for_card_data() -> None:
    """By chance one in 10^8 is, at the most."""
    chance = random.Random(20260701)  # noqa: S311 - the same ones in each run
    for number in range(usual_or_long(20_000, 1_000_000)):
        size = chance.choice(
            (8, 16, 24, 32, 40, 48, 64, 112, 256, 1024, 4096)
            if number % 50 == 0
            else (8, 16, 24, 32, 40, 48)
        )
        assert not is_unencrypted(chance.randbytes(size)), size


def test_no_nonce_is_taken_for_card_data() -> None:
    """That of device-aead begins with zeros."""
    chance = random.Random(20260702)  # noqa: S311 - likewise
    for counter in range(1, usual_or_long(5_000, 200_000)):
        sealed = counter.to_bytes(NONCE_BYTES, "big") + chance.randbytes(56)
        assert not is_unencrypted(sealed)


@given(st.binary(max_size=4096))
def test_whatever_it_is_given_it_answers(data: bytes) -> None:
    assert is_unencrypted(data) in (True, False)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_track_is_found_wherever_it_stands(before: bytes, after: bytes) -> None:
    assert is_unencrypted(before + TRACK2 + after)


@pytest.mark.parametrize(
    "piece", [b"4", b";4111", b"57", b"\x57\x13", b"\x5a\x08", b"AAAA", b"\xe1\x80"]
)
def test_time_is_linear(piece: bytes) -> None:
    """Millions of a batch's bytes must not hold up everybody else; see also the bounds of a body."""
    is_unencrypted(piece * (1_000_000 // len(piece)))
