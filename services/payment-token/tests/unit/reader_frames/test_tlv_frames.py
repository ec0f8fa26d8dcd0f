"""Messages of readers in TLV: the published one, those of readers in software, and everything that they should not be."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.readers import magtek_emv
from payment_token.cli.readers.chip import TRACK2, chip_elements, in_one, packed
from payment_token.domain.card_data import CardChecksPolicy, PaymentData, read_card
from payment_token.domain.errors import (
    CleartextCardDataError,
    DecryptionFailedError,
    InvalidFieldError,
)
from payment_token.domain.reader_frames.bbpos_tlv import read_bbpos_tlv
from payment_token.domain.reader_frames.idtech_emv import read_idtech_emv
from payment_token.domain.reader_frames.magtek_emv import read_magtek_emv
from payment_token.domain.reader_frames.miura_tlv import read_miura_tlv
from payment_token.domain.reader_frames.opened_frame import OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import written
from tests.support.readers import (
    KSN_TEXT,
    SERIAL,
    TRACKS,
    built,
    decrypted,
    encrypting,
    ksn,
)
from tests.support.vectors import dukpt_vectors

CARD = PUBLISHED_CARDS[0]
NOW = datetime(2026, 1, 1, tzinfo=UTC)

READERS: dict[str, Callable[[bytes], OpenedFrame]] = {
    "idtech-emv": read_idtech_emv,
    "idtech-emv-newer": read_idtech_emv,
    "magtek-emv": read_magtek_emv,
    "miura-tlv": read_miura_tlv,
    "bbpos-tlv": read_bbpos_tlv,
}
every_reader = pytest.mark.parametrize("name", READERS)


def card_of(opened: OpenedFrame) -> PaymentData:
    parts = opened.assemble(decrypted(opened.ciphertexts, opened.ksn))
    return read_card(list(parts), CardChecksPolicy.LENIENT, NOW)


def rule_of(read: Callable[[bytes], OpenedFrame], frame: bytes) -> str:
    with pytest.raises(InvalidFieldError) as refused:
        read(frame)
    assert refused.value.field == "encrypted_payload.parts.frame"
    return refused.value.detail


def element(tag: str, value: str | bytes) -> bytes:
    return written(bytes.fromhex(tag), bytes.fromhex(value) if isinstance(value, str) else value)


# --- What passes -----------------------------------------------------------------------------------------------------


def test_the_published_message() -> None:
    """ID TECH's own example, of a VP3300 in test mode; its source stands with it in dukpt.json."""
    (vector,) = (
        entry for entry in dukpt_vectors()["frames"] if entry["format"] == "idtech-emv-tlv"
    )
    expected = vector["expect"]
    opened = read_idtech_emv(bytes.fromhex(vector["frame_hex"]))

    assert opened.ksn == expected["ksn"]
    assert opened.ciphertexts == tuple(
        bytes.fromhex(expected["encrypted"][tag]) for tag in ("57", "5A")
    )
    card = card_of(opened)
    assert card.pan_part.pan.reveal() == expected["pan"]
    assert (card.pan_part.exp_month, card.pan_part.exp_year) == (12, 2020)
    assert card.sad_part is not None
    assert card.sad_part.emv is not None
    emv = card.sad_part.emv.reveal()
    assert "9F2608" + expected["arqc_9F26"] in emv
    assert "DFEE12" not in emv
    assert expected["masked"]["57"] not in emv


@every_reader
def test_what_a_reader_builds_is_read(name: str) -> None:
    opened = READERS[name](built(name))
    assert opened.ksn == KSN_TEXT
    assert opened.mac is None
    assert opened.serial == (SERIAL if name in ("magtek-emv", "bbpos-tlv") else None)
    card = card_of(opened)
    assert card.pan_part.pan.reveal() == CARD.pan
    assert card.sad_part is not None
    assert card.sad_part.track2 is not None
    assert card.sad_part.track2.reveal() == CARD.track2.strip(";?")


@every_reader
def test_hexadecimal_text_is_the_same_message(name: str) -> None:
    frame = built(name)
    for text in (frame.hex(), frame.hex().upper() + "\r\n"):
        assert READERS[name](text.encode()).ciphertexts == READERS[name](frame).ciphertexts


def test_tracks_of_a_stripe_come_out_of_the_elements() -> None:
    tracks = element("5F21", CARD.track1.encode()) + element("5F22", CARD.track2.encode())
    for clear in (tracks, CARD.track2.encode()):
        frame = element("DFAE02", encrypting(clear)) + element("DFAE03", KSN_TEXT)
        assert card_of(read_miura_tlv(frame)).pan_part.pan.reveal() == CARD.pan
    stripe = element("FC", element("F4", element("DFDF39", CARD.track2.encode())))
    padding = bytes([-len(stripe) % 8])
    inner = element("DFDF59", encrypting(stripe)) + element("DFDF56", KSN_TEXT)
    frame = element("F9", element("FA", element("F8", inner + element("DFDF58", padding))))
    assert card_of(read_magtek_emv(frame)).pan_part.pan.reveal() == CARD.pan


def test_tracks_and_elements_tell_of_one_card() -> None:
    other = PUBLISHED_CARDS[1]
    for pan, stages in ((CARD.pan, set()), (other.pan, {"two-pans"})):
        clear = element("5F22", CARD.track2.encode()) + element("5A", packed(pan))
        frame = element("DFAE02", encrypting(clear)) + element("DFAE03", KSN_TEXT)
        opened, failed = read_miura_tlv(frame), set()
        try:
            card_of(opened)
        except DecryptionFailedError as error:
            failed.add(error.stage)
        assert failed == stages


# --- The MAC ---------------------------------------------------------------------------------------------------------


def test_a_mac_is_over_all_before_it() -> None:
    frame = magtek_emv.with_mac(ksn(), encrypting, TRACKS, SERIAL, lambda _: b"\x01\x02\x03\x04")
    mac = read_magtek_emv(frame).mac
    assert mac is not None
    assert (mac.ksn, mac.mac) == (KSN_TEXT, b"\x01\x02\x03\x04")
    assert mac.message.reveal() == frame[:-4]
    assert len(frame[:-4]) % 8 == 0
    # Without the length that some interfaces leave out.
    bare = read_magtek_emv(frame[2:]).mac
    assert bare is not None
    assert bare.message.reveal() == frame[2:-4]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda frame: frame[:-1], "a MAC of 4 bytes"),
        (lambda frame: frame[:-4] + bytes(8) + frame[-4:], "a MAC of 4 bytes"),
        (lambda frame: frame[:-5] + b"\x01" + frame[-4:], "a MAC of 4 bytes"),
        (lambda frame: b"\x00\x01" + frame[2:], "states another length than it has"),
        (lambda frame: frame[1:], "does not begin with F9"),
        (
            lambda frame: frame.replace(bytes.fromhex("DFDF570180"), bytes.fromhex("DFDF570181")),
            "DFDF57",
        ),
        (lambda frame: frame[:40], "ends within an element"),
        (lambda frame: frame[:3], "ends within an element"),
        (lambda frame: b"", "does not begin with F9"),
    ],
)
def test_the_envelope_of_magtek_is_checked(change: Callable[[bytes], bytes], rule: str) -> None:
    frame = magtek_emv.with_mac(ksn(), encrypting, TRACKS, SERIAL, lambda _: b"\x01\x02\x03\x04")
    assert rule in rule_of(read_magtek_emv, change(frame))


def test_a_mac_needs_its_ksn() -> None:
    inner = element("DFDF59", bytes(8)) + element("DFDF56", KSN_TEXT)
    frame = element("F9", element("FA", element("F8", inner)))
    assert read_magtek_emv(frame + bytes(4)).mac is None
    assert "DFDF54" in rule_of(read_magtek_emv, frame + b"\x01\x02\x03\x04")


@pytest.mark.parametrize("padding", [b"\x08", b"\xff", b"\x00\x00"])
def test_a_padding_that_no_cipher_needs(padding: bytes) -> None:
    inner = element("DFDF59", bytes(8)) + element("DFDF56", KSN_TEXT)
    frame = element("F9", inner + element("DFDF58", padding))
    assert "DFDF58" in rule_of(read_magtek_emv, frame)


def test_the_elements_end_where_the_message_says() -> None:
    clear = element("FC", in_one(chip_elements(TRACKS)))
    right = -len(clear) % 8
    for padding in {*range(8)} - {right}:
        inner = element("DFDF59", encrypting(clear)) + element("DFDF56", KSN_TEXT)
        frame = element("F9", inner + element("DFDF58", bytes([padding])))
        opened = read_magtek_emv(frame)
        with pytest.raises(DecryptionFailedError) as failed:
            opened.assemble(decrypted(opened.ciphertexts))
        assert failed.value.stage == "frame-padding"


# --- What does not pass, before anything is decrypted -------------------------------------------------------------------

_KSN_TAGS = {
    "idtech-emv": "DFEE12",
    "magtek-emv": "DFDF56",
    "miura-tlv": "DFAE03",
    "bbpos-tlv": "C0",
}


@pytest.mark.parametrize("name", _KSN_TAGS)
def test_a_ksn_is_stated_once_and_whole(name: str) -> None:
    stated, frame = element(_KSN_TAGS[name], KSN_TEXT), built(name)

    def with_instead(elements: bytes) -> bytes:
        changed = frame.replace(stated, elements)
        # Lengths of what is around it would have to change as well: take the elements out of it.
        return changed if name in ("idtech-emv", "bbpos-tlv") else _flat(frame, stated, elements)

    read = READERS[name]
    assert f"no {_KSN_TAGS[name]} (the KSN)" in rule_of(read, with_instead(b""))
    other = element(_KSN_TAGS[name], "FFFF9876543210E00009")
    assert "twice, with different values" in rule_of(read, with_instead(stated + other))
    short = element(_KSN_TAGS[name], KSN_TEXT[:-2])
    assert "8, 10 or 12 bytes" in rule_of(read, with_instead(short))
    assert read(with_instead(stated + stated)).ksn == KSN_TEXT


def _flat(frame: bytes, stated: bytes, elements: bytes) -> bytes:
    """The templates without their templates, within one whose length is right."""
    if frame[0] == 0xE4:
        return element("E4", frame[frame.index(b"\xdf") :].replace(stated, elements))
    inner = frame[frame.index(bytes.fromhex("DFDF59")) : frame.index(bytes.fromhex("DFDF58")) + 5]
    return element("F9", inner.replace(stated, elements))


@pytest.mark.parametrize("tag", ["57", "5A", "56", "9F6B"])
def test_card_data_that_an_idtech_reader_does_not_encrypt(tag: str) -> None:
    frame = built("idtech-emv") + element(tag, b"\x41" * 8)
    with pytest.raises(CleartextCardDataError):
        read_idtech_emv(frame)


def test_an_idtech_message_that_encrypts_nothing() -> None:
    masked = element("DFEE12", KSN_TEXT) + bytes.fromhex("5AA1085413CCCCCCCC1513")
    assert "no encrypted element" in rule_of(read_idtech_emv, masked)
    unclear = element("DFEE12", KSN_TEXT) + bytes.fromhex("5A91085413CCCCCCCC1513")
    assert "neither encrypted nor masked" in rule_of(read_idtech_emv, unclear)


def beside(name: str, more: bytes) -> bytes:
    """A message that holds something in clear beside its ciphertext."""
    if name != "magtek-emv":
        return built(name) + more
    inner = element("DFDF59", bytes(8)) + element("DFDF56", KSN_TEXT)
    return element("F9", inner + more)


@pytest.mark.parametrize("name", ["magtek-emv", "miura-tlv", "bbpos-tlv"])
def test_what_must_not_be_beside_a_ciphertext(name: str) -> None:
    read = READERS[name]
    read(beside(name, element("9F02", bytes(6))))
    assert "PIN block" in rule_of(read, beside(name, element("99", bytes(8))))
    for tag in ("57", "5A", "56", "9F6B"):
        with pytest.raises(CleartextCardDataError):
            read(beside(name, element(tag, b"\x41" * 8)))


def test_a_message_does_not_have_more_ciphertexts_than_a_read() -> None:
    """Each of them may be a call to the custodian, whose quota all merchants share."""
    one = bytes.fromhex("57C108") + bytes(8)
    assert len(read_idtech_emv(element("DFEE12", KSN_TEXT) + one * 8).ciphertexts) == 8
    assert "more than 8" in rule_of(read_idtech_emv, element("DFEE12", KSN_TEXT) + one * 9)


@every_reader
def test_bounds(name: str) -> None:
    read = READERS[name]
    assert "longer than 8192 bytes" in rule_of(read, bytes(8193))
    deep = b""
    for _ in range(12):
        deep = element("E1", deep)
    many = element("9F02", bytes(6)) * 300
    for inside, rule in ((deep, "templates"), (many, "elements"), (b"\x9f\xff\xff\xff\xff", "tag")):
        frame = element("F9", inside) if name == "magtek-emv" else inside
        assert rule in rule_of(read, frame)


# --- What does not pass, once it is decrypted ---------------------------------------------------------------------------


@every_reader
def test_noise_is_no_card_data(name: str) -> None:
    opened = READERS[name](built(name))
    noise = [SensitiveBytes(b"\x9d" * len(text)) for text in opened.ciphertexts]
    with pytest.raises(DecryptionFailedError):
        opened.assemble(noise)


def test_ciphertexts_of_an_idtech_message_cannot_change_places() -> None:
    opened = read_idtech_emv(built("idtech-emv"))
    track2, pan = decrypted(opened.ciphertexts)
    with pytest.raises(DecryptionFailedError) as failed:
        opened.assemble([pan, track2])
    assert failed.value.stage == "frame-element"


def test_a_second_element_cannot_ride_along() -> None:
    opened = read_idtech_emv(built("idtech-emv"))
    _, pan = decrypted(opened.ciphertexts)
    both = element(TRACK2.hex(), chip_elements(TRACKS)[TRACK2]) + element("9F39", b"\x07")
    with pytest.raises(DecryptionFailedError):
        opened.assemble([SensitiveBytes(both), pan])


@pytest.mark.parametrize("name", ["magtek-emv", "miura-tlv", "bbpos-tlv"])
def test_pin_data_within_is_refused(name: str) -> None:
    clear = in_one(chip_elements(TRACKS)) + element("99", bytes(8))
    wrapped = element("FC", clear)
    text = wrapped if name == "magtek-emv" else clear
    padded = SensitiveBytes(text + bytes(-len(text) % 8))
    opened = READERS[name](_magtek_of(text) if name == "magtek-emv" else built(name))
    with pytest.raises(DecryptionFailedError) as failed:
        opened.assemble([padded])
    assert failed.value.stage == "pin-data"


def _magtek_of(clear: bytes) -> bytes:
    inner = element("DFDF59", encrypting(clear)) + element("DFDF56", KSN_TEXT)
    return element("F9", inner + element("DFDF58", bytes([-len(clear) % 8])))
