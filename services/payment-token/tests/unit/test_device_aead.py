"""device-aead: vectors, a second implementation, and everything that must not open."""

import dataclasses
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_aead import (
    MOST_KEY_EPOCH,
    AEADKeyName,
    check_shape,
    device_key,
    open_part,
    seal_part,
)
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError, InvalidFieldError
from payment_token.domain.identifiers import DEVICE_ID, MERCHANT_ID, DeviceId, MerchantId
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from tests.support.plain_gcm import gcm_encrypt, hmac_sha256
from tests.vectors.make_device_aead_vector import FILE, document, name_of

PAYLOADS = json.loads(FILE.read_text("ascii"))["payloads"]
NAME = AEADKeyName(MerchantId("m_4711"), DeviceId("IDT-0042"), 1)
BDK = SecretKey(bytes(range(32)))
KEY = device_key(BDK, NAME)
PLAINTEXT = SensitiveBytes(b";4111111111111111=30122010000012345678?")

every_payload = pytest.mark.parametrize("entry", PAYLOADS, ids=[e["id"] for e in PAYLOADS])

names = st.builds(
    AEADKeyName,
    st.from_regex(MERCHANT_ID, fullmatch=True).map(MerchantId),
    st.from_regex(DEVICE_ID, fullmatch=True).map(DeviceId),
    st.integers(0, MOST_KEY_EPOCH),
)
keys = st.binary(min_size=32, max_size=32).map(SecretKey)
formats = st.sampled_from(PartFormat)
counters = st.integers(0, 2**96 - 1)


def part_format_of(entry: dict[str, Any]) -> PartFormat:
    return PartFormat(entry["format"])


def refusal(
    ciphertext: bytes,
    key: SecretKey = KEY,
    name: AEADKeyName = NAME,
    part_format: PartFormat = PartFormat.TRACK2,
) -> str | None:
    """``None`` when the part opens. A refusal shows nothing, and holds on to nothing that does."""
    error = None
    try:
        open_part(key, name, part_format, ciphertext)
    except DecryptionFailedError as raised:
        error = raised
    if error is None:
        return None
    assert error.__context__ is None
    assert error.args == (DecryptionFailedError.default_detail,)
    return error.stage


# --- The scheme, made a second time from its description alone ------------------------------------------------------


def of_length(*fields: bytes) -> bytes:
    return b"".join(bytes(divmod(len(field), 256)) + field for field in fields)


def independently(entry: dict[str, Any]) -> dict[str, Any]:
    fields = (
        entry["merchant_id"].encode(),
        entry["device_id"].encode(),
        entry["key_epoch"].to_bytes(4, "big"),
    )
    bdk = bytes.fromhex(entry["bdk"])
    message = b"pts/device-aead-key/v1" + of_length(*fields)
    key = hmac_sha256(bdk, message)
    associated_data = b"pts/device-aead/v1" + of_length(*fields, entry["format"].encode())
    nonce = entry["counter"].to_bytes(12, "big")
    sealed = gcm_encrypt(key, nonce, bytes.fromhex(entry["plaintext"]), associated_data)
    return {
        "key_check_value": hmac_sha256(bdk, b"pts/key-check-value/v1")[:3].hex().upper(),
        "derivation_message": message.hex(),
        "device_key": key.hex(),
        "associated_data": associated_data.hex(),
        "ciphertext": (nonce + sealed).hex(),
    }


def test_the_second_implementation_agrees_with_published_vectors():
    """Test case 16 of the GCM specification, and test case 2 of RFC 4231, so that it does not only agree with us."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    associated_data = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    assert gcm_encrypt(key, nonce, plaintext, associated_data).hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@every_payload
def test_two_implementations_make_the_same_bytes(entry):
    made = independently(entry)
    assert {name: entry[name] for name in made} == made


@given(keys, names, formats, counters, st.binary(min_size=1, max_size=100))
def test_two_implementations_make_the_same_bytes_of_anything(bdk, name, part, counter, plaintext):
    made = independently(
        {
            "bdk": bdk.reveal().hex(),
            "merchant_id": name.merchant_id,
            "device_id": name.device_id,
            "key_epoch": name.key_epoch,
            "format": part,
            "counter": counter,
            "plaintext": plaintext.hex(),
        }
    )
    key = device_key(bdk, name)
    assert key.reveal().hex() == made["device_key"]
    assert (
        seal_part(key, name, part, counter, SensitiveBytes(plaintext)).hex() == made["ciphertext"]
    )


def test_the_script_writes_the_vector_file():
    assert document()["payloads"] == PAYLOADS


@every_payload
def test_a_payload_of_the_vector_file_opens(entry):
    key = SecretKey(bytes.fromhex(entry["device_key"]))
    ciphertext = bytes.fromhex(entry["ciphertext"])
    check_shape(ciphertext)
    opened = open_part(key, name_of(entry), part_format_of(entry), ciphertext)
    assert opened.reveal().hex() == entry["plaintext"]


def test_names_that_join_to_the_same_text_have_other_keys():
    assert len({entry["device_key"] for entry in PAYLOADS}) == len(PAYLOADS)


# --- What a name stands for -----------------------------------------------------------------------------------------


@given(names, names)
def test_other_names_have_other_keys_and_other_data(one, other):
    if one == other:
        return
    assert one.derivation_message != other.derivation_message
    assert one.initial_key_id != other.initial_key_id
    assert one.associated_data(PartFormat.TRACK1) != other.associated_data(PartFormat.TRACK1)


def test_the_derivation_and_the_associated_data_never_meet():
    """Whoever may ask the custodian for a MAC of one kind of message gets nothing that stands for the other."""
    assert not NAME.derivation_message.startswith(b"pts/device-aead/v1")
    assert not NAME.associated_data(PartFormat.TRACK2).startswith(b"pts/device-aead-key/v1")


def test_the_initial_key_id_is_of_16_bytes_and_is_no_part_of_the_key():
    assert NAME.initial_key_id == sha256(NAME.derivation_message).digest()[:16]
    assert NAME.initial_key_id not in KEY.reveal()


@pytest.mark.parametrize("key_epoch", [0, 1, MOST_KEY_EPOCH])
def test_an_epoch_in_bounds(key_epoch):
    name = AEADKeyName.checked(NAME.merchant_id, NAME.device_id, key_epoch)
    assert name.derivation_message.endswith(b"\x00\x04" + key_epoch.to_bytes(4, "big"))


@pytest.mark.parametrize("key_epoch", [-1, MOST_KEY_EPOCH + 1, 10**400, -(10**400)])
def test_an_epoch_out_of_bounds(key_epoch):
    with pytest.raises(InvalidFieldError) as refused:
        AEADKeyName.checked(NAME.merchant_id, NAME.device_id, key_epoch)
    assert refused.value.field == "encrypted_payload.key_epoch"
    assert str(refused.value).endswith("must be from 0 to 4294967295")


# --- What must not open ---------------------------------------------------------------------------------------------


@given(keys, names, formats, counters, st.binary(min_size=1, max_size=300))
def test_what_was_sealed_opens(key, name, part, counter, plaintext):
    sealed = seal_part(key, name, part, counter, SensitiveBytes(plaintext))
    check_shape(sealed)
    assert sealed[:12] == counter.to_bytes(12, "big")
    assert len(sealed) == 12 + len(plaintext) + 16
    assert open_part(key, name, part, sealed).reveal() == plaintext


def test_any_flipped_bit_of_a_ciphertext():
    sealed = seal_part(KEY, NAME, PartFormat.TRACK2, 7, PLAINTEXT)
    assert refusal(sealed) is None
    for place in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[place // 8] ^= 1 << place % 8
        assert refusal(bytes(changed)) == "tag"


def test_any_flipped_bit_of_the_key():
    sealed = seal_part(KEY, NAME, PartFormat.TRACK2, 7, PLAINTEXT)
    for place in range(256):
        changed = bytearray(KEY.reveal())
        changed[place // 8] ^= 1 << place % 8
        assert refusal(sealed, SecretKey(bytes(changed))) == "tag"


@pytest.mark.parametrize(
    "change",
    [
        {"merchant_id": "m_4712"},
        {"merchant_id": "m_471"},
        {"device_id": "IDT-0043"},
        {"device_id": "IDT-00421"},
        {"key_epoch": 2},
        {"key_epoch": 1 << 24},
        {"merchant_id": "m_4711I", "device_id": "DT-0042"},
    ],
    ids=str,
)
def test_another_name_under_the_same_key(change):
    """The associated data alone refuses it, so a custodian that gave one key to two devices would not help."""
    sealed = seal_part(KEY, NAME, PartFormat.TRACK2, 1, PLAINTEXT)
    other = dataclasses.replace(NAME, **change)
    assert refusal(sealed, name=other) == "tag"
    assert refusal(sealed, device_key(BDK, other), other) == "tag"


@pytest.mark.parametrize("part", [part for part in PartFormat if part is not PartFormat.TRACK2])
def test_another_format(part):
    sealed = seal_part(KEY, NAME, PartFormat.TRACK2, 1, PLAINTEXT)
    assert refusal(sealed, part_format=part) == "tag"


@given(st.integers(0, 60))
def test_a_ciphertext_that_was_cut_short(length):
    sealed = seal_part(KEY, NAME, PartFormat.TRACK2, 1, PLAINTEXT)[:length]
    if length <= 28:
        with pytest.raises(InvalidFieldError) as refused:
            check_shape(sealed)
        assert refused.value.field == "encrypted_payload.parts.ciphertext"
        assert "nonce of 12 bytes" in str(refused.value)
    else:
        check_shape(sealed)
        assert refusal(sealed) == "tag"


@given(st.binary(min_size=29, max_size=200))
def test_any_bytes_of_a_ciphertext_s_length(ciphertext):
    check_shape(ciphertext)
    assert refusal(ciphertext) == "tag"


def test_a_counter_beyond_96_bits_seals_nothing():
    for counter in (-1, 2**96):
        with pytest.raises(OverflowError):
            seal_part(KEY, NAME, PartFormat.TRACK2, counter, PLAINTEXT)
