"""Seals a record under a key of its own, and opens it again.

Each record has a random DEK, used once. The DEK is wrapped under HKDF-Expand(key, salt ‖ purpose) with a random salt
for each record: every wrapping key wraps one DEK too, so the limit of 2^32 random nonces for one AES-GCM key
(NIST SP 800-38D §8.3) binds at no volume. A record names the version of its key; keys are never tried in turn, which
matters because GCM does not commit to its key.
"""

import struct
from collections.abc import Callable
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.hkdf import hkdf_expand
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing.associated_data import Binding, Purpose, of_payload, of_wrap
from payment_token.domain.sealing.record import NONCE_BYTES, SALT_BYTES, SealedRecord
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

Random = Callable[[int], bytes]
"""Gives that many bytes from the operating system's generator; a test fixes them."""

_KEY_BYTES = 32

# All that a record needs, asked for at once: the DEK, the salt, and the nonces of wrap and payload.
_RANDOM = struct.Struct(f"{_KEY_BYTES}s{SALT_BYTES}s{NONCE_BYTES}s{NONCE_BYTES}s")


def seal(plaintext: SensitiveBytes, key: NamedKey, binding: Binding, random: Random) -> bytes:
    """Returns the bytes of a sealed record of format version 1."""
    dek, salt, wrap_nonce, payload_nonce = _RANDOM.unpack(random(_RANDOM.size))
    wrapping_key, bound = _wrapping_key(key.key, salt, binding.purpose), binding.to_bytes()
    return SealedRecord(
        purpose=binding.purpose,
        key_name=key.name,
        salt=salt,
        wrap_nonce=wrap_nonce,
        wrapped_dek=wrapping_key.encrypt(wrap_nonce, dek, of_wrap(bound, key.name)),
        payload_nonce=payload_nonce,
        payload=AESGCM(dek).encrypt(payload_nonce, plaintext.reveal(), of_payload(bound)),
    ).to_bytes()


def open_record(record: SealedRecord, key: NamedKey, binding: Binding) -> SensitiveBytes:
    """Opens a record with the key that it names.

    Raises RecordIntegrityFailureError when the record was changed or moved to another row, purpose, merchant or
    environment, when the expiry of its row was edited, or when ``key`` is not the one that it was sealed under.
    """
    plaintext, bound = None, binding.to_bytes()
    dek = _unwrapped_dek(record, key, binding.purpose, bound)
    try:
        plaintext = AESGCM(dek).decrypt(record.payload_nonce, record.payload, of_payload(bound))
    except InvalidTag:
        pass
    if plaintext is None:
        raise RecordIntegrityFailureError
    return SensitiveBytes(plaintext)


def rewrap(
    record: SealedRecord, old: NamedKey, new: NamedKey, binding: Binding, random: Random
) -> bytes:
    """The same record with its DEK wrapped under another key, and a new salt. The payload is not touched.

    Raises RecordIntegrityFailureError as :func:`open_record` does, as far as the wrapped DEK tells.
    """
    bound = binding.to_bytes()
    dek = _unwrapped_dek(record, old, binding.purpose, bound)
    salt, wrap_nonce = random(SALT_BYTES), random(NONCE_BYTES)
    return replace(
        record,
        key_name=new.name,
        salt=salt,
        wrap_nonce=wrap_nonce,
        wrapped_dek=_wrapping_key(new.key, salt, record.purpose).encrypt(
            wrap_nonce, dek, of_wrap(bound, new.name)
        ),
    ).to_bytes()


def _unwrapped_dek(record: SealedRecord, key: NamedKey, purpose: Purpose, bound: bytes) -> bytes:
    if record.key_name != key.name or record.purpose is not purpose:
        raise RecordIntegrityFailureError
    dek = None
    try:
        dek = _wrapping_key(key.key, record.salt, record.purpose).decrypt(
            record.wrap_nonce, record.wrapped_dek, of_wrap(bound, key.name)
        )
    except InvalidTag:
        pass
    if dek is None:
        raise RecordIntegrityFailureError
    return dek


def _wrapping_key(key: SecretKey, salt: bytes, purpose: Purpose) -> AESGCM:
    return AESGCM(hkdf_expand(key.reveal(), salt + purpose.encode()))
