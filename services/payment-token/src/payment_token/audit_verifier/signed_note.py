"""Signed notes and their keys (C2SP signed-note): a text, an empty line, and a line for each signature.

A verifier key, ``vkey``, is ``NAME+KEY ID+BASE64``: the key id is the first four bytes of SHA-256(name, newline, type, key) in
hexadecimal, and the base64 holds type and public key. Type 1 is Ed25519 over the text; type 4 is a witness's cosignature
(C2SP tlog-cosignature): Ed25519 over the time and the text.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = 1
COSIGNATURE = 4

_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_VKEY_PARTS = 3
_SIGNATURE_LINE = re.compile("— ([^ +\n]+) ([A-Za-z0-9+/=]+)")


class NoteError(ValueError):
    """It is not a note, or not one of this log. The text says why."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    name: str
    algorithm: int
    public_key: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        object.__setattr__(self, "_key", key)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Raises NoteError."""
        parts = vkey.strip().split("+", 2)
        if len(parts) != _VKEY_PARTS or not parts[0] or re.search(r"\s", parts[0]):
            raise NoteError("a key is written NAME+KEY ID+BASE64")
        name, key_id, encoded = parts
        raw = _decoded(encoded)
        if len(raw) != 1 + _KEY_BYTES or raw[0] not in (ED25519, COSIGNATURE):
            raise NoteError("a key is of Ed25519: type 1, or 4 of a witness, and 32 bytes")
        key = cls(name, raw[0], raw[1:])
        if key.key_id.hex() != key_id.lower():
            raise NoteError(f"the key id {key_id} does not belong to the key of {name}")
        return key

    @property
    def key_id(self) -> bytes:
        content = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key
        return sha256(content).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        encoded = b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verifies(self, text: str, signature: bytes) -> bool:
        message = text.encode()
        if self.algorithm == COSIGNATURE:
            time, signature = signature[:_TIME_BYTES], signature[_TIME_BYTES:]
            message = cosigned(text, int.from_bytes(time, "big"))
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """``text`` ends with a newline. Signatures of unknown keys say nothing, and are no fault."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Raises NoteError. Only one spelling of each signature is read, so that no bit of a note may change."""
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n") or not text or "\r" in note:
            raise NoteError("it is not a signed note")
        return cls(text + "\n", tuple(_signature(line) for line in lines[:-1].split("\n")))

    def names(self, key: VerifierKey) -> bool:
        """Whether it has a signature that says to be of the key."""
        return any((key.name, key.key_id) == (sig.name, sig.key_id) for sig in self.signatures)

    def signed_by(self, key: VerifierKey) -> bool:
        return any(
            key.verifies(self.text, signed.signature)
            for signed in self.signatures
            if signed.name == key.name and signed.key_id == key.key_id
        )


def cosigned(text: str, time: int) -> bytes:
    """What a witness signs. ``time`` is in seconds since 1970."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def signature_line(key: VerifierKey, signature: bytes) -> str:
    return f"— {key.name} {b64encode(key.key_id + signature).decode()}\n"


def _signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise NoteError("a line of its signatures is not one")
    raw = _decoded(match[2])
    if len(raw) <= _KEY_ID_BYTES:
        raise NoteError("a signature is too short")
    return Signature(match[1], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _decoded(encoded: str) -> bytes:
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raw = None
    # The last digit has bits that count for nothing: only the spelling with zeros there is base64.
    if raw is None or b64encode(raw).decode() != encoded:
        raise NoteError("its base64 is damaged")
    return raw
