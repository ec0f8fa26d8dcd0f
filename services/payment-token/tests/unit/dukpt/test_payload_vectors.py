"""Encrypted card data and device frames, decrypted; and that no section of the vectors is skipped."""

import re
from typing import Any

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, payload_key
from payment_token.domain.payload_cipher import decrypt
from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import dukpt_vectors, entries

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
SECTIONS = {
    "tdes_keys",
    "tdes_crypto",
    "aes_keys",
    "aes_crypto",
    "card_data",
    "frames",
    "ksn_rules",
}


def clear(bdk: str, ksn: KSN, variant: KeyVariant, cipher: Cipher, ciphertext: bytes) -> bytes:
    path = DerivationPath(ksn.scheme, initial_key(SecretKey(bytes.fromhex(bdk)), ksn))
    key = payload_key(path.transaction_key(ksn), ksn, variant, cipher)
    return decrypt(key, cipher, Mode.CBC, None, ciphertext).reveal()


def test_every_section_is_whole() -> None:
    vectors = dukpt_vectors()

    assert vectors["counts"] == {section: len(vectors[section]) for section in SECTIONS}


@pytest.mark.parametrize("entry", entries("card_data"))
def test_card_data(entry: dict[str, Any]) -> None:
    ksn = KSN.of_any_counter(entry["ksn"], SCHEMES[entry["scheme"]])

    plaintext = clear(
        entry["bdk"],
        ksn,
        VARIANTS[entry["key_variant"]],
        CIPHERS[entry["cipher"]],
        bytes.fromhex(entry["ciphertext"]),
    )

    assert plaintext.hex().upper() == entry["plaintext_hex"].upper()


def frame(entry_id: str) -> dict[str, Any]:
    return next(entry for entry in dukpt_vectors()["frames"] if entry["id"] == entry_id)


def tdes(entry: dict[str, Any], variant: KeyVariant, ciphertext: bytes) -> bytes:
    ksn = KSN.from_hex(entry["expect"]["ksn"], Scheme.DUKPT_TDES)
    return clear(entry["bdk"], ksn, variant, Cipher.TDES_2KEY, ciphertext)


def test_the_magtek_string() -> None:
    entry = frame("magtek-kb-string-08")
    expect = entry["expect"]
    encrypted = [
        field for field in entry["frame_ascii"].split("|") if re.fullmatch("[0-9A-F]{48,}", field)
    ]
    assert len(encrypted) >= 3

    for track, ciphertext in zip(("track1", "track2", "track3"), encrypted, strict=False):
        plaintext = tdes(entry, KeyVariant.PIN, bytes.fromhex(ciphertext))
        assert plaintext.rstrip(b"\0").decode() == expect[track]


def test_the_idtech_emv_fields() -> None:
    entry = frame("idtech-emv-tlv-tdes")

    for tag, ciphertext in entry["expect"]["encrypted"].items():
        plaintext = tdes(entry, KeyVariant.DATA_REQUEST, bytes.fromhex(ciphertext))
        expected = bytes.fromhex(entry["expect"]["decrypted_tlv"][tag])
        assert plaintext == expected.ljust(len(plaintext), b"\0")


@pytest.mark.parametrize("entry_id", ["idtech-original-01", "idtech-enhanced-03"])
def test_the_idtech_swipe_frames(entry_id: str) -> None:
    """The encrypted section is found by its place: it is what decrypts to the track."""
    entry = frame(entry_id)
    raw = bytes.fromhex(entry["frame_hex"])
    track1 = entry["expect"]["track1"].encode()
    starts = range(len(raw) - 64)

    found = [
        start
        for start in starts
        if tdes(entry, KeyVariant.DATA_REQUEST, raw[start : start + 64]).startswith(b"%B")
    ]

    (start,) = found
    length = (len(raw) - start) // 8 * 8
    plaintext = tdes(entry, KeyVariant.DATA_REQUEST, raw[start : start + length])
    assert plaintext.startswith(track1)
