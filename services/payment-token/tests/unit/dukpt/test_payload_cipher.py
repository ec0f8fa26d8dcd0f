import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Cipher, Mode
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.payload_cipher import block_bytes, check_shape, decrypt, encrypt
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

KEY_BYTES = {
    Cipher.TDES_2KEY: 16,
    Cipher.TDES_3KEY: 24,
    Cipher.AES_128: 16,
    Cipher.AES_192: 24,
    Cipher.AES_256: 32,
}
BLOCK = {
    Cipher.TDES_2KEY: 8,
    Cipher.TDES_3KEY: 8,
    Cipher.AES_128: 16,
    Cipher.AES_192: 16,
    Cipher.AES_256: 16,
}
IV = "encrypted_payload.iv"
CIPHERTEXT = "encrypted_payload.parts.ciphertext"

every_cipher = pytest.mark.parametrize("cipher", Cipher)
every_mode = pytest.mark.parametrize("mode", Mode)


def key_of(cipher: Cipher) -> SecretKey:
    return SecretKey(bytes(range(1, KEY_BYTES[cipher] + 1)))


def refused_field(cipher: Cipher, mode: Mode, iv: bytes | None, ciphertext: bytes) -> str | None:
    try:
        check_shape(cipher, mode, iv, ciphertext)
    except InvalidFieldError as error:
        return error.field
    return None


@every_cipher
def test_the_block_of_a_cipher(cipher):
    assert block_bytes(cipher) == BLOCK[cipher]


@every_cipher
@every_mode
@given(data=st.data())
def test_what_a_terminal_encrypts_decrypts(cipher, mode, data):
    block = BLOCK[cipher]
    blocks = st.integers(0, 6).flatmap(lambda n: st.binary(min_size=n * block, max_size=n * block))
    plaintext = SensitiveBytes(data.draw(st.binary(max_size=100) if mode is Mode.OFB else blocks))
    ivs = st.none() | st.binary(min_size=block, max_size=block)
    iv = None if mode is Mode.ECB else data.draw(ivs)
    key = SecretKey(data.draw(st.binary(min_size=KEY_BYTES[cipher], max_size=KEY_BYTES[cipher])))

    ciphertext = encrypt(key, cipher, mode, iv, plaintext)

    assert len(ciphertext) == len(plaintext.reveal())
    assert decrypt(key, cipher, mode, iv, ciphertext) == plaintext
    if ciphertext:
        assert refused_field(cipher, mode, iv, ciphertext) is None


@every_cipher
@every_mode
def test_no_iv_is_the_zero_block(cipher, mode):
    block = BLOCK[cipher]
    plaintext = SensitiveBytes(bytes(range(block * 2)))
    without = encrypt(key_of(cipher), cipher, mode, None, plaintext)
    zero = encrypt(key_of(cipher), cipher, mode, bytes(block), plaintext)
    assert without == zero


@every_cipher
@pytest.mark.parametrize("mode", [Mode.CBC, Mode.OFB])
def test_the_iv_matters(cipher, mode):
    plaintext = SensitiveBytes(bytes(32))
    ivs = (None, b"\1" * BLOCK[cipher])
    assert len({encrypt(key_of(cipher), cipher, mode, iv, plaintext) for iv in ivs}) == 2


@every_cipher
def test_the_modes_differ(cipher):
    plaintext = SensitiveBytes(bytes(range(32)))
    assert len({encrypt(key_of(cipher), cipher, mode, None, plaintext) for mode in Mode}) == 3


def test_nist_s_vectors_of_the_modes():
    """NIST SP 800-38A, F.1.1, F.2.1 and F.4.1: the first block under AES-128."""
    key = SecretKey(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    iv = bytes(range(16))
    plaintext = SensitiveBytes(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"))
    expected = {
        Mode.ECB: "3ad77bb40d7a3660a89ecaf32466ef97",
        Mode.CBC: "7649abac8119b246cee98e9b12e9197d",
        Mode.OFB: "3b3fd92eb72dad20333449f8e83cfb4a",
    }
    assert {
        mode: encrypt(key, Cipher.AES_128, mode, None if mode is Mode.ECB else iv, plaintext).hex()
        for mode in Mode
    } == expected


@every_cipher
@every_mode
@pytest.mark.parametrize("length", range(34))
def test_a_ciphertext_is_whole_blocks_but_in_ofb(cipher, mode, length):
    whole = length % BLOCK[cipher] == 0 or mode is Mode.OFB
    refused = refused_field(cipher, mode, None, bytes(length))
    assert refused == (None if length and whole else CIPHERTEXT)


@every_cipher
@every_mode
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 32])
def test_an_iv_is_one_block_and_ecb_has_none(cipher, mode, length):
    fits = length == BLOCK[cipher] and mode is not Mode.ECB
    refused = refused_field(cipher, mode, bytes(length), bytes(16))
    assert refused == (None if fits else IV)


def test_a_refusal_names_the_rule_and_no_value():
    with pytest.raises(InvalidFieldError, match=r"^encrypted_payload\.iv: must be 16 bytes") as iv:
        check_shape(Cipher.AES_128, Mode.CBC, b"seen?", bytes(16))
    assert "seen" not in str(iv.value)
    with pytest.raises(InvalidFieldError, match="whole blocks of 8 bytes") as ciphertext:
        check_shape(Cipher.TDES_2KEY, Mode.CBC, None, b"seen?")
    assert "seen" not in str(ciphertext.value)
