"""ID TECH swipe messages, original and enhanced: the published ones, and what each check refuses."""

from dataclasses import replace

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant
from payment_token.domain.errors import (
    CleartextCardDataError,
    DecryptionFailedError,
    InvalidFieldError,
)
from payment_token.domain.reader_frames.idtech_msr import read_idtech_msr
from tests.support.reader_frames import (
    TRACK1,
    TRACK2,
    TRACK3,
    IDTECHSwipe,
    assembled,
    clear_parts,
    in_envelope,
    published,
)

ORIGINAL, ENHANCED = "idtech-original-01", "idtech-enhanced-03"
DATA, TDES, AES = KeyVariant.DATA_REQUEST, Cipher.TDES_2KEY, Cipher.AES_128
TRACK3_SENT = replace(IDTECHSwipe(), tracks=(TRACK1 + b"!", TRACK2 + b"0", TRACK3))
either = pytest.mark.parametrize("layout", ["original", "enhanced"])


def made(layout: str, **changes: object) -> bytes:
    frame: bytes = getattr(replace(IDTECHSwipe(), **changes), layout)()
    return frame


def clear_of(frame: bytes, variant: KeyVariant = DATA, cipher: Cipher = TDES) -> dict[str, bytes]:
    return clear_parts(assembled(read_idtech_msr(frame), variant, cipher))


def rule(frame: bytes) -> str:
    with pytest.raises(InvalidFieldError) as refusal:
        read_idtech_msr(frame)
    assert refusal.value.field == "encrypted_payload.parts.frame"
    return refusal.value.detail.removeprefix("encrypted_payload.parts.frame: ")


def stage(frame: bytes, variant: KeyVariant = DATA, cipher: Cipher = TDES) -> str:
    with pytest.raises(DecryptionFailedError) as refusal:
        clear_of(frame, variant, cipher)
    return refusal.value.stage


# --- What readers send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
def test_a_published_message(name):
    frame, expected = published(name)

    opened = read_idtech_msr(frame)

    assert opened.ksn == expected["ksn"]
    assert (opened.serial, opened.mac, opened.key_variant) == (None, None, None)
    tracks = clear_of(frame)
    # Each with the LRC character that stands on the card.
    assert tracks == {
        "track1": expected["track1"].encode() + b"!",
        "track2": expected["track2"].encode() + b"0",
    }


def test_only_the_enhanced_layout_names_its_cipher():
    # 107 bytes fill up to 112 under both ciphers.
    assert read_idtech_msr(published(ORIGINAL)[0]).cipher is None
    assert read_idtech_msr(published(ENHANCED)[0]).cipher is TDES


@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
@pytest.mark.parametrize(
    "typed",
    [
        lambda frame: frame.hex().upper().encode(),
        lambda frame: frame.hex().encode() + b"\r\n",
        lambda frame: b"\t" + frame.hex().encode() + b"\r",
        lambda frame: frame + bytes(150),
    ],
    ids=["keyboard", "small letters and Enter", "preamble", "HID report"],
)
def test_the_ways_in_which_it_comes(name, typed):
    frame, _ = published(name)
    assert clear_of(typed(frame)) == clear_of(frame)


@either
@pytest.mark.parametrize("absent", [0, 1])
def test_one_track(layout, absent):
    tracks, masked = list(IDTECHSwipe().tracks), list(IDTECHSwipe().masked)
    tracks[absent] = masked[absent] = b""

    found = clear_of(made(layout, tracks=tuple(tracks), masked=tuple(masked)))

    assert found == ({"track2": TRACK2 + b"0"} if absent == 0 else {"track1": TRACK1 + b"!"})


@either
def test_aes(layout):
    # 37 bytes fill up to 40 under TDES and to 48 under AES, so that the original layout tells it as well.
    frame = made(layout, cipher=AES, tracks=(b"", TRACK2 + b"0", b""), masked=(b"", b"*" * 37, b""))

    assert read_idtech_msr(frame).cipher is AES
    assert clear_of(frame, cipher=AES) == {"track2": TRACK2 + b"0"}


@pytest.mark.parametrize(
    ("hashes", "why"), [([], "none at all"), ([bytes(20)] * 2, "of a reader that does not tell")]
)
@either
def test_hashes_that_say_nothing(layout, hashes, why):
    sent = None if hashes else 0x83
    assert len(clear_of(made(layout, hashes=hashes, sent=sent))) == 2, why


def test_tracks_that_are_not_shown():
    assert len(clear_of(made("enhanced", masked=(b"", b"", b"")))) == 2


def test_serial_number_session_and_pin_variant():
    frame = made(
        "enhanced", serial=b"613T296947", session=b"s" * 8, variant=KeyVariant.PIN, cipher=TDES
    )

    opened = read_idtech_msr(frame)

    assert (opened.serial, opened.key_variant) == ("613T296947", KeyVariant.PIN)
    assert len(clear_of(frame, KeyVariant.PIN)) == 2


@pytest.mark.parametrize("serial", [b"\0\0T1234567", b"T1234567\0\0", b"  T1234567"])
def test_a_short_serial_number(serial):
    assert read_idtech_msr(made("enhanced", serial=serial)).serial == "T1234567"


def test_track_3_is_never_decrypted():
    encrypted = TRACK3_SENT.enhanced()
    in_clear = TRACK3_SENT.original()

    assert [len(read_idtech_msr(frame).ciphertexts) for frame in (encrypted, in_clear)] == [2, 1]
    for frame in (encrypted, in_clear):
        assert clear_of(frame).keys() == {"track1", "track2"}


# --- What its envelope states ----------------------------------------------------------------------------------------


def changed(frame: bytes, at: int, byte: int | None = None) -> bytes:
    broken = bytearray(frame)
    broken[at] = broken[at] ^ 1 if byte is None else byte
    return bytes(broken)


@pytest.mark.parametrize("typed", [bytes, lambda frame: frame.hex().encode()], ids=["raw", "typed"])
@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
def test_the_envelope(name, typed):
    frame, _ = published(name)

    assert rule(typed(changed(frame, 40))) == "the LRC does not match"
    assert rule(typed(changed(frame, -3))) == "the LRC does not match"
    assert rule(typed(changed(frame, -2))) == "the checksum does not match"
    assert rule(typed(changed(frame, -1))).startswith("has no ETX (03)")
    assert rule(typed(frame[:-1])) == "states another length than it has"
    assert rule(typed(frame + b"\x01")) == "states another length than it has"
    assert rule(typed(changed(frame, 1, 0xFF))) == "states another length than it has"
    assert rule(changed(frame, 0)).startswith("does not begin with STX (02)")


def test_a_change_that_the_lrc_does_not_see():
    frame = bytearray(published(ORIGINAL)[0])
    frame[40], frame[41] = frame[40] ^ 2, frame[41] ^ 2

    assert rule(bytes(frame)) == "the checksum does not match"


@pytest.mark.parametrize("frame", [b"", b"\x02", b"\x02\x00\x00", b"hello", b"0", b"\xff" * 100])
def test_what_is_no_message(frame):
    assert rule(frame).startswith("does not begin with STX (02)")


@pytest.mark.parametrize("frame", [b"02", b"020", b"02g0", b"02 7D 01", b"02\xff"])
def test_what_is_no_hexadecimal(frame):
    assert rule(frame) in (
        "is not whole bytes in hexadecimal",
        "does not begin with STX (02) and a length",
    )


# --- What its fields state -------------------------------------------------------------------------------------------

DOES_NOT_ADD_UP = "has another length than its tracks, hashes and KSN add up to"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x3f\x10", b"\x80\x3f\x10\x10\x00"])
def test_card_data_that_is_too_short(data):
    assert rule(in_envelope(data)) == DOES_NOT_ADD_UP


@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
@pytest.mark.parametrize("change", [lambda d: d + b"\0" * 8, lambda d: d[:-8], lambda d: d[:-1]])
def test_fields_that_do_not_add_up(name, change):
    frame, _ = published(name)
    assert rule(in_envelope(change(frame[3:-3]))) == DOES_NOT_ADD_UP


@pytest.mark.parametrize("track", [0, 1, 2])
@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
def test_the_length_of_a_track(name, track):
    data = published(name)[0][3:-3]
    # A block more: whatever is made of it, it is no longer this message.
    longer = changed(data, 2 + track, data[2 + track] + 8)
    assert rule(in_envelope(longer)) == DOES_NOT_ADD_UP


def test_what_this_service_does_not_read():
    unread = "is of a card encode type that this service does not read"
    assert rule(made("original", encode_type=4)) == unread
    assert rule(made("enhanced", encode_type=4)) == unread
    assert rule(made("original", encode_type=0x40)) == unread
    assert rule(made("enhanced", status=0x7F)).startswith("has optional fields")
    assert rule(made("enhanced", shown=0x0B)) == "is encrypted under a fixed key, not under DUKPT"
    assert rule(made("enhanced", sent=0x1B)) == "states no KSN"
    assert rule(made("enhanced", serial=b"\xff" * 10)).startswith("the serial number")


@either
def test_neither_track(layout):
    tracks = (b"", b"", TRACK3)
    assert rule(made(layout, tracks=tracks, masked=(b"", b"", b""))) == (
        "holds neither track 1 nor track 2"
    )


def test_a_length_without_a_track():
    frame = made("enhanced", masked=(b"", b"", b""), sent=0x92)
    assert rule(frame) == "states the length of a track that it does not hold"


# --- Tracks in clear -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        made("enhanced", masked=IDTECHSwipe().tracks, sent=0x00),
        made("enhanced", masked=IDTECHSwipe().tracks, sent=0x80),
        made("enhanced", masked=IDTECHSwipe().tracks, sent=0x92),
        made("enhanced", masked=IDTECHSwipe().tracks, encode_type=3, sent=0x00),
        made("original", masked=IDTECHSwipe().tracks, encode_type=3),
        made("original", masked=IDTECHSwipe().tracks, encode_type=1),
        in_envelope(bytes([0, 0x3F, len(TRACK1), len(TRACK2), 0]) + TRACK1 + TRACK2),
    ],
    ids=["nothing", "a KSN", "one of two", "another card", "other", "AAMVA", "without a key"],
)
def test_a_reader_that_does_not_encrypt(frame):
    with pytest.raises(CleartextCardDataError, match=r"^encrypted_payload\.parts\.frame: "):
        read_idtech_msr(frame)


# --- What only the decrypted tracks show -----------------------------------------------------------------------------


@either
@pytest.mark.parametrize("damaged", [0, 1])
def test_a_hash_that_is_not_the_tracks(layout, damaged):
    hashes = list(IDTECHSwipe()._hashes((0, 1)))
    hashes[damaged] = changed(hashes[damaged], 19)
    assert stage(made(layout, hashes=hashes)) == "track-hash"


@either
def test_hashes_in_the_wrong_order(layout):
    hashes = list(reversed(IDTECHSwipe()._hashes((0, 1))))
    assert stage(made(layout, hashes=hashes)) == "track-hash"


@either
def test_what_fills_up_a_block_is_zeros(layout):
    assert stage(made(layout, padding=b"0")) == "frame-padding"


@pytest.mark.parametrize("name", [ORIGINAL, ENHANCED])
def test_the_wrong_variant(name):
    assert stage(published(name)[0], KeyVariant.PIN) in ("frame-padding", "track-hash")


@pytest.mark.parametrize("layout", ["original", "enhanced"])
def test_a_reader_that_masks_nothing(layout):
    for masked in ((TRACK1, b"", b""), (b"", TRACK2, b"")):
        swipe = IDTECHSwipe(tracks=masked, masked=masked)
        with pytest.raises(CleartextCardDataError):
            read_idtech_msr(getattr(swipe, layout)())


def test_a_reader_that_was_given_no_serial_number():
    for blank in (bytes(10), b" " * 10):
        assert read_idtech_msr(IDTECHSwipe(serial=blank).enhanced()).serial is None
