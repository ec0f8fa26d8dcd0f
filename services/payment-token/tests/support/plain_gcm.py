"""AES-256-GCM and HMAC-SHA-256 a second time, from their standards: slow, and of other parts than the service's.

Single blocks of AES and the hash function SHA-256 come from libraries; everything above them is written out here.
"""

from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

_BLOCK = 16
_HASH_BLOCK = 64
# x^128 + x^7 + x^2 + x + 1, with the coefficient of x^0 as the leftmost bit (NIST SP 800-38D §6.3).
_R = 0xE1 << 120


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104 §2."""
    padded = (sha256(key).digest() if len(key) > _HASH_BLOCK else key).ljust(_HASH_BLOCK, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()


def gcm_encrypt(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Ciphertext ‖ tag, of a nonce of 12 bytes (NIST SP 800-38D §7.1)."""
    counter = int.from_bytes(nonce + b"\0\0\0\1", "big")
    stream = b"".join(
        _aes_block(key, (counter + number).to_bytes(_BLOCK, "big"))
        for number in range(1, -(-len(plaintext) // _BLOCK) + 1)
    )
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=False))
    lengths = (len(associated_data) * 8).to_bytes(8, "big") + (len(ciphertext) * 8).to_bytes(
        8, "big"
    )
    hashed = _ghash(
        _aes_block(key, bytes(_BLOCK)), _padded(associated_data) + _padded(ciphertext) + lengths
    )
    mask = _aes_block(key, counter.to_bytes(_BLOCK, "big"))
    return ciphertext + bytes(a ^ b for a, b in zip(hashed, mask, strict=True))


def _aes_block(key: bytes, block: bytes) -> bytes:
    return Cipher(AES(key), modes.ECB()).encryptor().update(block)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _ghash(subkey: bytes, data: bytes) -> bytes:
    """§6.4."""
    h, result = int.from_bytes(subkey, "big"), 0
    for start in range(0, len(data), _BLOCK):
        result = _product(result ^ int.from_bytes(data[start : start + _BLOCK], "big"), h)
    return result.to_bytes(_BLOCK, "big")


def _product(x: int, y: int) -> int:
    """In GF(2^128), §6.3."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ _R if y & 1 else y >> 1
    return z
