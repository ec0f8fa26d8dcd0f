"""The bytes of a sealed record, format version 1. ``docs/sealed-record.md`` draws the same table.

====================  =========  ==========================================
field                 bytes      value
====================  =========  ==========================================
format version        1          0x01
purpose               1          0x01 PAN, 0x02 SAD
key name length       1          n, 1 to 64
key name              n          ASCII, for example ``v1``
salt                  16         random; with the purpose it picks the wrapping key
wrap nonce            12         random
wrapped DEK           48         AES-256-GCM of the 32-byte DEK, tag last
payload nonce         12         random
payload               16 or more AES-256-GCM of the plaintext, tag last
====================  =========  ==========================================
"""

import struct
from dataclasses import dataclass
from typing import Self

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.keys import NAME_LIMIT
from payment_token.domain.sealing.associated_data import Purpose

FORMAT_VERSION = 1
SALT_BYTES = 16
NONCE_BYTES = 12
WRAPPED_DEK_BYTES = 48
TAG_BYTES = 16

_PURPOSE_BYTES = {Purpose.PAN: 1, Purpose.SAD: 2}
_PURPOSES = {value: purpose for purpose, value in _PURPOSE_BYTES.items()}
_KEY_NAME_OFFSET = 3
_FIXED = struct.Struct(f"{SALT_BYTES}s{NONCE_BYTES}s{WRAPPED_DEK_BYTES}s{NONCE_BYTES}s")


@dataclass(frozen=True, slots=True)
class SealedRecord:
    purpose: Purpose
    key_name: str
    salt: bytes
    wrap_nonce: bytes
    wrapped_dek: bytes
    payload_nonce: bytes
    payload: bytes

    def to_bytes(self) -> bytes:
        name = self.key_name.encode("ascii")
        return b"".join(
            (
                bytes((FORMAT_VERSION, _PURPOSE_BYTES[self.purpose], len(name))),
                name,
                self.salt,
                self.wrap_nonce,
                self.wrapped_dek,
                self.payload_nonce,
                self.payload,
            )
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises RecordIntegrityFailureError for anything that this service did not write."""
        if len(raw) < _KEY_NAME_OFFSET or raw[0] != FORMAT_VERSION or raw[1] not in _PURPOSES:
            raise RecordIntegrityFailureError
        name_end = _KEY_NAME_OFFSET + raw[2]
        name = raw[_KEY_NAME_OFFSET:name_end]
        if (
            not 1 <= raw[2] <= NAME_LIMIT
            or not name.isascii()
            or len(raw) < name_end + _FIXED.size + TAG_BYTES
        ):
            raise RecordIntegrityFailureError
        salt, wrap_nonce, wrapped_dek, payload_nonce = _FIXED.unpack_from(raw, name_end)
        return cls(
            _PURPOSES[raw[1]],
            name.decode("ascii"),
            salt,
            wrap_nonce,
            wrapped_dek,
            payload_nonce,
            raw[name_end + _FIXED.size :],
        )
