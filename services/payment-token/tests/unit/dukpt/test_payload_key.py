import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.dukpt import KSN, payload_key, tdes
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.sensitive import SecretKey

TDES_KSN = KSN.from_hex("FFFF9876543210E00001", Scheme.DUKPT_TDES)
AES_KSN = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)
KEY = SecretKey(bytes(range(16)))


@pytest.mark.parametrize("cipher", [Cipher.TDES_3KEY, Cipher.AES_192, Cipher.AES_256])
def test_ciphers_that_tdes_dukpt_does_not_have(cipher: Cipher) -> None:
    with pytest.raises(InvalidFieldError, match="cipher: must be"):
        payload_key(KEY, TDES_KSN, KeyVariant.DATA_REQUEST, cipher)


def test_data_both_is_of_aes_alone() -> None:
    with pytest.raises(InvalidFieldError, match="key_variant: data-both"):
        payload_key(KEY, TDES_KSN, KeyVariant.DATA_BOTH, Cipher.TDES_2KEY)


@pytest.mark.parametrize("cipher", [Cipher.AES_192, Cipher.AES_256])
def test_a_cipher_stronger_than_the_base_key(cipher: Cipher) -> None:
    with pytest.raises(InvalidFieldError, match="stronger") as refused:
        payload_key(KEY, AES_KSN, KeyVariant.DATA_REQUEST, cipher)
    assert refused.value.__context__ is None


def test_every_variant_and_cipher_of_aes_has_a_key_of_its_own() -> None:
    key = SecretKey(bytes(range(32)))

    derived = [
        payload_key(key, AES_KSN, variant, cipher).reveal()
        for variant in KeyVariant
        for cipher in Cipher
    ]

    assert len(set(derived)) == len(KeyVariant) * len(Cipher)


def test_what_idtech_calls_aes_is_the_tdes_data_key() -> None:
    as_aes = payload_key(KEY, TDES_KSN, KeyVariant.DATA_REQUEST, Cipher.AES_128)

    assert as_aes == payload_key(KEY, TDES_KSN, KeyVariant.DATA_REQUEST, Cipher.TDES_2KEY)
    assert as_aes == tdes.data_key(KEY, tdes.DATA_REQUEST_MASK)


def test_a_tdes_base_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        tdes.initial_key(SecretKey(bytes(24)), TDES_KSN)
