"""MagTek swipe messages: the published one, and what each check refuses."""

from dataclasses import replace

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant
from payment_token.domain.errors import (
    CleartextCardDataError,
    DecryptionFailedError,
    InvalidFieldError,
)
from payment_token.domain.reader_frames.magtek_swipe import read_magtek_swipe
from tests.support.reader_frames import (
    TRACK1,
    TRACK2,
    MagTekSwipe,
    assembled,
    clear_parts,
    published,
)

NAME = "magtek-kb-string-08"
TDES = Cipher.TDES_2KEY
EMPTY = "holds neither track 1 nor track 2"


def made(**changes: object) -> bytes:
    return replace(MagTekSwipe(), **changes).text()


def clear_of(frame: bytes, variant: KeyVariant = KeyVariant.PIN) -> dict[str, bytes]:
    return clear_parts(assembled(read_magtek_swipe(frame), variant, TDES))


def rule(frame: bytes) -> str:
    with pytest.raises(InvalidFieldError) as refusal:
        read_magtek_swipe(frame)
    assert refusal.value.field == "encrypted_payload.parts.frame"
    return refusal.value.detail.removeprefix("encrypted_payload.parts.frame: ")


def with_field(place: int, text: str) -> bytes:
    """Of a message that states no CRC."""
    fields = made(crc="").decode().split("|")
    fields[place] = text
    return "|".join(fields).encode()


# --- What readers send -----------------------------------------------------------------------------------------------


def test_the_published_message():
    frame, expected = published(NAME)

    opened = read_magtek_swipe(frame)

    assert opened.ksn == expected["ksn"]
    assert (opened.cipher, opened.key_variant) == (TDES, KeyVariant.PIN)
    assert (opened.serial, opened.mac) == (None, None)
    assert {name: text.rstrip(b"\0").decode() for name, text in clear_of(frame).items()} == {
        name: expected[name] for name in ("track1", "track2")
    }


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"x" * 100])
def test_what_follows_it(end):
    assert clear_of(published(NAME)[0] + end) == clear_of(published(NAME)[0])


def test_a_reader_on_the_data_variant():
    frame = made(status="0608", variant=KeyVariant.DATA_REQUEST)

    assert read_magtek_swipe(frame).key_variant is KeyVariant.DATA_REQUEST
    assert clear_of(frame, KeyVariant.DATA_REQUEST)["track1"].rstrip(b"\0") == TRACK1


@pytest.mark.parametrize("absent", [0, 1])
def test_one_track(absent):
    tracks = [TRACK1, TRACK2, b""]
    tracks[absent] = b""
    assert clear_of(made(tracks=tuple(tracks))).keys() == {f"track{2 - absent}"}


def test_fields_that_may_be_empty():
    frame = made(masked=b"", serial="", session="", magneprint="", crc="")

    assert clear_of(frame).keys() == {"track1", "track2"}
    assert read_magtek_swipe(frame).serial is None


def test_serial_number_and_counter():
    assert read_magtek_swipe(made(more=["00012C"])).serial == "B061234"


def test_small_letters():
    frame = made(crc="")
    head, body = frame.split(b"|", 1)
    assert clear_of(head + b"|" + body.lower()) == clear_of(frame)


# --- What it states --------------------------------------------------------------------------------------------------


def test_the_crc():
    frame, _ = published(NAME)

    for at in (0, 30, 160, frame.index(b"|B78F") + 1):
        broken = bytearray(frame)
        broken[at] = ord("7") if broken[at] != ord("7") else ord("8")
        assert rule(bytes(broken)) == "the CRC does not match"
    assert rule(frame.replace(b"B78F", b"8FB7")) == "the CRC does not match"
    assert rule(made(crc="B78")) == "the CRC must be 4 hexadecimal digits"


def test_the_encrypted_crc():
    good = made(encrypted_crc=None)
    assert clear_of(good).keys() == {"track1", "track2"}
    assert len(read_magtek_swipe(good).ciphertexts) == 3
    without_clear_one = made(crc="", encrypted_crc=None)
    assert clear_of(without_clear_one).keys() == {"track1", "track2"}

    # Swapped tracks: each block is the reader's own, but not where the reader put it.
    fields = made(crc="", encrypted_crc=None).split(b"|")
    fields[2], fields[3] = fields[3], fields[2]
    with pytest.raises(DecryptionFailedError) as refusal:
        clear_of(b"|".join(fields))
    assert refusal.value.stage == "frame-crc"


@pytest.mark.parametrize(
    ("place", "text", "named"),
    [
        (1, "06", "encryption status"),
        (1, "06ZZ", "encryption status"),
        (2, "E", "track 1"),
        (2, "00" * 7, "track 1"),
        (3, "GG" * 8, "track 2"),
        (4, "0", "track 3"),
        (5, "A", "MagnePrint status"),
        (6, "xyz", "MagnePrint"),
        (7, "S" * 17, "serial number"),
        (8, "1", "session"),
        (9, "", "a KSN of 20 hexadecimal digits"),
        (9, "9876543210E00008", "a KSN of 20 hexadecimal digits"),
        (9, "FFFF9876543210E0000G", "a KSN of 20 hexadecimal digits"),
        (11, "00", "encrypted CRC"),
        (12, "", "format code"),
        (12, "00000", "format code"),
    ],
)
def test_each_field_has_its_form(place, text, named):
    found = rule(with_field(place, text))
    assert named in found
    assert not text or text not in found.replace("14", "").replace("must be", "")


def test_bounds():
    assert rule(made(magneprint="00" * 2048)) == "must be at most 4096 characters"
    assert rule(b"") == rule(b"|" * 11) == rule(b"|" * 14)
    assert "13 fields" in rule(published(NAME)[0].replace(b"|", b";"))
    for byte in (b"\x00", b"\n", b"\x7f", "é".encode()):
        assert rule(byte + made()) == "holds characters that no swipe has"


@pytest.mark.parametrize("tracks", [(b"", b"", b""), (b"", b"", b"+51634990800204=?")])
def test_neither_track(tracks):
    assert rule(made(tracks=tracks)) == EMPTY


# --- Readers that do not encrypt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["0000", "0200", "0400"])
def test_a_reader_that_does_not_encrypt(status):
    with pytest.raises(CleartextCardDataError):
        read_magtek_swipe(made(status=status))
    # As the manual has it: what would be encrypted is sent in clear.
    clear = made(status=status, crc="").split(b"|")
    clear[2:5] = TRACK1, TRACK2, b""
    with pytest.raises(CleartextCardDataError):
        read_magtek_swipe(b"|".join(clear))
    assert rule(made(status=status, masked=b"", tracks=(b"", b"", b""))) == (
        "is of a reader that does not encrypt"
    )


def test_a_reader_whose_keys_are_used_up():
    assert rule(made(status="0700", tracks=(b"", b"", b""))).startswith(
        "is of a reader whose keys are used up"
    )
