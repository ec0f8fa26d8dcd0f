"""Key check values: three bytes that tell two people that they hold the same key, and nothing else about it."""

import hmac

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.block_ciphers import aes, tdes
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.sensitive import SecretKey

CHECK_VALUE_BYTES = 3
HMAC_MESSAGE = b"pts/key-check-value/v1"
"""No standard has a check value for HMAC keys that every custodian can compute. This message is ours."""


def key_check_value(key: SecretKey, algorithm: BDKAlgorithm) -> str:
    """Six hexadecimal digits.

    TDES: of the zero block encrypted (X9.24-1 Annex C); AES: of CMAC of it (X9.24-3); HMAC: of :data:`HMAC_MESSAGE`.
    """
    if algorithm is BDKAlgorithm.TDES_2KEY:
        return tdes_check_value(key)
    if algorithm is BDKAlgorithm.DEVICE_AEAD:
        return _shown(hmac.digest(key.reveal(), HMAC_MESSAGE, "sha256"))
    return aes_check_value(key)


def tdes_check_value(key: SecretKey) -> str:
    """Of a two-key or three-key TDES key."""
    return _shown(zeros_encrypted(tdes(key)))


def aes_check_value(key: SecretKey) -> str:
    return _shown(zeros_authenticated(aes(key)))


def zeros_encrypted(cipher: BlockCipherAlgorithm) -> bytes:
    """The zero block encrypted, whole: what the older check values are cut from (X9.24-1:2017 Annex A)."""
    return Cipher(cipher, modes.ECB()).encryptor().update(bytes(cipher.block_size // 8))


def zeros_authenticated(cipher: BlockCipherAlgorithm) -> bytes:
    """CMAC of the zero block, whole: what the newer check values are cut from (likewise)."""
    mac = CMAC(cipher)
    mac.update(bytes(cipher.block_size // 8))
    return mac.finalize()


def _shown(value: bytes) -> str:
    return value[:CHECK_VALUE_BYTES].hex().upper()
