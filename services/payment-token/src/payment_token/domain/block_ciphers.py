"""TDES and AES keys as ``cryptography`` takes them."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from payment_token.domain.sensitive import SecretKey

_TDES_PART = 8


def tdes(key: SecretKey) -> TripleDES:
    """Of two or three keys, 16 or 24 bytes; ``cryptography`` wants three. Raises ValueError for another length."""
    raw = key.reveal()
    return TripleDES(raw + raw[:_TDES_PART] if len(raw) == 2 * _TDES_PART else raw)


def aes(key: SecretKey) -> AES:
    """Of 16, 24 or 32 bytes. Raises ValueError for another length."""
    return AES(key.reveal())
