"""The cipher of a device payload: TDES or AES, in CBC, ECB or OFB, without padding of its own.

None of these modes tells a changed ciphertext from a good one. Terminals use them all the same; what protects the
service is that every wrong plaintext gets one and the same answer.
"""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import OFB
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from payment_token.domain.device_payload import Cipher, Mode
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

_BlockMode = CBC | ECB | OFB

_TDES_CIPHERS = (Cipher.TDES_2KEY, Cipher.TDES_3KEY)
_TDES_BLOCK = 8
_AES_BLOCK = 16


def block_bytes(cipher: Cipher) -> int:
    return _TDES_BLOCK if cipher in _TDES_CIPHERS else _AES_BLOCK


def check_shape(cipher: Cipher, mode: Mode, iv: bytes | None, ciphertext: bytes) -> None:
    """Raises InvalidFieldError for a ciphertext or IV of a length that the cipher cannot have made."""
    block = block_bytes(cipher)
    if iv is not None and mode is Mode.ECB:
        raise InvalidFieldError("encrypted_payload.iv", "must be left out in ecb mode")
    if iv is not None and len(iv) != block:
        raise InvalidFieldError("encrypted_payload.iv", f"must be {block} bytes for this cipher")
    if not ciphertext or (mode is not Mode.OFB and len(ciphertext) % block):
        raise InvalidFieldError(
            "encrypted_payload.parts.ciphertext",
            f"must be whole blocks of {block} bytes for this cipher and mode",
        )


def decrypt(
    key: SecretKey, cipher: Cipher, mode: Mode, iv: bytes | None, ciphertext: bytes
) -> SensitiveBytes:
    """``iv`` ``None`` is the zero block. The padding of the plaintext is left to whoever knows its format."""
    return SensitiveBytes(_engine(key, cipher, mode, iv).decryptor().update(ciphertext))


def encrypt(
    key: SecretKey, cipher: Cipher, mode: Mode, iv: bytes | None, plaintext: SensitiveBytes
) -> bytes:
    """What a terminal does; the plaintext must be whole blocks but in OFB."""
    return _engine(key, cipher, mode, iv).encryptor().update(plaintext.reveal())


def _engine(
    key: SecretKey, cipher: Cipher, mode: Mode, iv: bytes | None
) -> BlockCipher[_BlockMode]:
    raw = key.reveal()
    if cipher is Cipher.TDES_2KEY:
        raw += raw[:_TDES_BLOCK]
    algorithm = TripleDES(raw) if cipher in _TDES_CIPHERS else AES(raw)
    return BlockCipher(algorithm, _block_mode(mode, iv or bytes(block_bytes(cipher))))


def _block_mode(mode: Mode, iv: bytes) -> _BlockMode:
    if mode is Mode.CBC:
        return CBC(iv)
    return OFB(iv) if mode is Mode.OFB else ECB()  # noqa: S305 - some terminals use it
