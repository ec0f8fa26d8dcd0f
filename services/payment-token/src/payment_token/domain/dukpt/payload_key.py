"""Which working key of a transaction decrypts a device's payload."""

from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.dukpt import aes, tdes
from payment_token.domain.dukpt.aes import KeyType, KeyUsage
from payment_token.domain.dukpt.ksn import KSN
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.sensitive import SecretKey

_AES_USAGES = {
    KeyVariant.DATA_REQUEST: KeyUsage.DATA_ENCRYPTION,
    KeyVariant.DATA_RESPONSE: KeyUsage.DATA_DECRYPTION,
    KeyVariant.DATA_BOTH: KeyUsage.DATA_BOTH,
    KeyVariant.PIN: KeyUsage.PIN_ENCRYPTION,
}

_AES_TYPES = {
    Cipher.TDES_2KEY: KeyType.TDEA_2KEY,
    Cipher.TDES_3KEY: KeyType.TDEA_3KEY,
    Cipher.AES_128: KeyType.AES_128,
    Cipher.AES_192: KeyType.AES_192,
    Cipher.AES_256: KeyType.AES_256,
}

_TDES_DATA_MASKS = {
    KeyVariant.DATA_REQUEST: tdes.DATA_REQUEST_MASK,
    KeyVariant.DATA_RESPONSE: tdes.DATA_RESPONSE_MASK,
}


def payload_key(transaction: SecretKey, ksn: KSN, variant: KeyVariant, cipher: Cipher) -> SecretKey:
    """Raises InvalidFieldError for a variant or cipher that the scheme, or the size of its keys, does not have."""
    if ksn.scheme is Scheme.DUKPT_AES:
        return _aes_payload_key(transaction, ksn, variant, cipher)
    return _tdes_payload_key(transaction, variant, cipher)


def _aes_payload_key(
    transaction: SecretKey, ksn: KSN, variant: KeyVariant, cipher: Cipher
) -> SecretKey:
    key = None
    try:
        key = aes.working_key(transaction, ksn, _AES_USAGES[variant], _AES_TYPES[cipher])
    except ValueError:
        pass
    if key is None:
        raise InvalidFieldError(
            "encrypted_payload.cipher", "is stronger than this device's base derivation key"
        )
    return key


def _tdes_payload_key(transaction: SecretKey, variant: KeyVariant, cipher: Cipher) -> SecretKey:
    # What ID TECH readers call "AES" is AES-128 under the 16 bytes of the TDES data key; it is not AES DUKPT.
    if cipher not in (Cipher.TDES_2KEY, Cipher.AES_128):
        raise InvalidFieldError(
            "encrypted_payload.cipher", "must be tdes-2key or aes-128 under dukpt-tdes"
        )
    if variant is KeyVariant.PIN:
        return tdes.variant_key(transaction, tdes.PIN_MASK)
    if variant not in _TDES_DATA_MASKS:
        raise InvalidFieldError(
            "encrypted_payload.key_variant", "data-both exists under dukpt-aes only"
        )
    return tdes.data_key(transaction, _TDES_DATA_MASKS[variant])
