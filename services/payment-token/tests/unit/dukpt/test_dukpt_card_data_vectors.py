"""What published readers sent: the key, and with it the plaintext."""

from dataclasses import dataclass

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, payload_key
from payment_token.domain.payload_cipher import check_shape, decrypt
from payment_token.domain.sensitive import SecretKey
from tests.unit.dukpt.dukpt_vectors import DOCUMENT, base_derivation_key, name_of

CARD_DATA = DOCUMENT["card_data"]
FRAMES = {frame["id"]: frame for frame in DOCUMENT["frames"]}
NO_TERMINAL_COUNTS_SO = {"node-3des", "node-aes"}

SCHEMES = {"tdes-dukpt": Scheme.DUKPT_TDES, "aes-dukpt": Scheme.DUKPT_AES}
VARIANTS = {
    "pin": KeyVariant.PIN,
    "data_req": KeyVariant.DATA_REQUEST,
    "data_enc": KeyVariant.DATA_REQUEST,
    "data_both": KeyVariant.DATA_BOTH,
}
CIPHERS = {
    "TDES": Cipher.TDES_2KEY,
    "AES128": Cipher.AES_128,
    "AES192": Cipher.AES_192,
    "AES256": Cipher.AES_256,
}


def key_of(bdk: SecretKey, ksn: KSN, variant: KeyVariant, cipher: Cipher) -> SecretKey:
    path = DerivationPath(ksn.scheme, initial_key(bdk, ksn))
    return payload_key(path.transaction_key(ksn), ksn, variant, cipher)


@pytest.mark.parametrize("vector", CARD_DATA, ids=name_of)
def test_card_data_decrypts(vector):
    parse = KSN.of_any_counter if vector["id"] in NO_TERMINAL_COUNTS_SO else KSN.from_hex
    ksn = parse(vector["ksn"], SCHEMES[vector["scheme"]])
    cipher, mode = CIPHERS[vector["cipher"]], Mode(vector["mode"].lower())
    key = key_of(base_derivation_key(vector), ksn, VARIANTS[vector["key_variant"]], cipher)
    iv, ciphertext = bytes.fromhex(vector["iv"]), bytes.fromhex(vector["ciphertext"])

    check_shape(cipher, mode, iv, ciphertext)
    plaintext = decrypt(key, cipher, mode, iv, ciphertext)

    assert plaintext.reveal().hex().upper() == vector["plaintext_hex"]
    assert decrypt(key, cipher, mode, None, ciphertext) == plaintext


def test_counters_that_no_terminal_reaches_are_marked_so():
    assert {v["id"] for v in CARD_DATA if v.get("ksn_valid") is False} == NO_TERMINAL_COUNTS_SO


@dataclass(frozen=True)
class Reader:
    """The keys of one frame: encrypted sections are TDES in CBC from the zero block."""

    frame: dict
    variant: KeyVariant

    def decrypted(self, section: bytes) -> bytes:
        ksn = KSN.from_hex(self.frame["expect"]["ksn"], Scheme.DUKPT_TDES)
        key = key_of(base_derivation_key(self.frame), ksn, self.variant, Cipher.TDES_2KEY)
        return decrypt(key, Cipher.TDES_2KEY, Mode.CBC, None, section).reveal()

    def track(self, number: int) -> bytes:
        return self.frame["expect"][f"track{number}"].encode()


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


def whole_blocks(size: int) -> int:
    return -(-size // 8) * 8


def lrc(track: bytes) -> int:
    """The longitudinal check of the magnetic track, as the character that stands for it."""
    offset, bits = (0x20, 0x3F) if track.startswith(b"%") else (0x30, 0x0F)
    check = 0
    for character in track:
        check ^= character - offset & bits
    return offset + check


def test_id_tech_s_original_frame_encrypts_tracks_1_and_2_as_one():
    """STX, length, type, status, three lengths; masked tracks 1 and 2, track 3 in clear; one section; SHA-1; KSN."""
    frame = FRAMES["idtech-original-01"]
    reader, cursor = Reader(frame, KeyVariant.DATA_REQUEST), Cursor(
        bytes.fromhex(frame["frame_hex"])
    )
    assert cursor.take(1) == b"\x02"
    assert int.from_bytes(cursor.take(2), "little") == len(cursor.rest) - 3
    assert cursor.take(2) == b"\x00\x3f"
    length1, length2, length3 = cursor.take(3)
    masked1, _, track3 = (cursor.take(size) for size in (length1, length2, length3))
    section = cursor.take(whole_blocks(length1 + length2))
    cursor.take(20 + 20)
    ksn = cursor.take(10)

    plaintext = reader.decrypted(section)

    track1, track2 = reader.track(1), reader.track(2)
    assert ksn.hex() == frame["expect"]["ksn"]
    assert plaintext[:length1] == track1 + bytes([lrc(track1)])
    assert plaintext[length1 : length1 + length2] == track2 + bytes([lrc(track2)])
    assert not plaintext[length1 + length2 :].strip(b"\0")
    assert masked1[:-1] == frame["expect"]["masked_track1"].encode()[:-1]
    assert track3[:-1] == reader.track(3)
    assert len(cursor.rest) == 3


def test_id_tech_s_enhanced_frame_encrypts_each_track():
    """Two more bytes in front say which sections follow: masked tracks 1 and 2, then all three, each encrypted."""
    frame = FRAMES["idtech-enhanced-03"]
    reader, cursor = Reader(frame, KeyVariant.DATA_REQUEST), Cursor(
        bytes.fromhex(frame["frame_hex"])
    )
    assert cursor.take(1) == b"\x02"
    assert int.from_bytes(cursor.take(2), "little") == len(cursor.rest) - 3
    assert cursor.take(2) == b"\x80\x3f"
    lengths = list(cursor.take(3))
    assert cursor.take(2) == b"\x03\xbf"
    cursor.take(lengths[0] + lengths[1])
    sections = [cursor.take(whole_blocks(length)) for length in lengths]
    cursor.take(20 + 20 + 20)

    assert cursor.take(10).hex() == frame["expect"]["ksn"]
    assert len(cursor.rest) == 3
    for number, (length, section) in enumerate(zip(lengths, sections, strict=True), start=1):
        track, plaintext = reader.track(number), reader.decrypted(section)
        assert plaintext[:length] == track + bytes([lrc(track)])
        assert not plaintext[length:].strip(b"\0")


def test_a_magtek_swipe_string_is_under_the_pin_variant():
    frame = FRAMES["magtek-kb-string-08"]
    reader = Reader(frame, KeyVariant.PIN)
    fields = frame["frame_ascii"].split("|")
    assert frame["expect"]["key_variant"] == "pin"
    assert fields[9] == frame["expect"]["ksn"]

    for number, field in enumerate(fields[2:5], start=1):
        plaintext = reader.decrypted(bytes.fromhex(field))
        assert plaintext.rstrip(b"\0") == reader.track(number)
    assert reader.decrypted(bytes.fromhex(fields[8])).hex() == frame["expect"]["session_id"]


@pytest.mark.parametrize("tag", ["57", "5A"])
def test_an_id_tech_emv_value_is_a_tlv_of_its_own(tag):
    frame = FRAMES["idtech-emv-tlv-tdes"]
    expected = frame["expect"]
    section, wanted = expected["encrypted"][tag], bytes.fromhex(expected["decrypted_tlv"][tag])
    assert section in frame["frame_hex"]

    plaintext = Reader(frame, KeyVariant.DATA_REQUEST).decrypted(bytes.fromhex(section))

    assert plaintext == wanted.ljust(len(plaintext), b"\0")


def test_every_frame_is_covered():
    assert set(FRAMES) == {
        "idtech-original-01",
        "idtech-enhanced-03",
        "magtek-kb-string-08",
        "idtech-emv-tlv-tdes",
    }
