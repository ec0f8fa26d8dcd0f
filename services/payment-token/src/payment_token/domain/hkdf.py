"""HKDF-Expand with SHA-256 (RFC 5869 §2.3), for keys of 32 bytes: its first block, which is one HMAC."""

import hmac

_FIRST_BLOCK = b"\x01"


def hkdf_expand(key: bytes, info: bytes) -> bytes:
    """32 bytes from a key that is uniformly random already.

    pyca/cryptography has an object for any length, which costs four times as much as what it computes.
    """
    return hmac.digest(key, info + _FIRST_BLOCK, "sha256")
