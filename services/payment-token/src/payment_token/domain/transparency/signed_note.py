"""Text with signatures beneath it (C2SP signed-note).

The text ends in a newline; then come an empty line and a line for each signature::

    — keyname base64(key id ‖ signature)

The key id is what tells two keys of one name apart, 4 bytes: SHA-256(keyname ‖ 0x0A ‖ 0x01 ‖ public key). The 0x01 says
Ed25519. A key is handed out as ``keyname+hex(key id)+base64(0x01 ‖ public key)``, called a vkey.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from payment_token.domain.keys import NamedKey

MOST_BYTES = 65_536
MOST_SIGNATURES = 100

_ED25519 = b"\x01"
_DASH = "\u2014 "
_ID_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_FIRST_PRINTABLE = " "


class NoteError(Exception):
    """It is not a note, or no key that is trusted signed it."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """``public_key`` is raw Ed25519, 32 bytes. Raises NoteError for a name that cannot stand in a note."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(map(_is_space, self.name)):
            raise NoteError("the name of a key has no space and no plus sign")
        if len(self.public_key) != _PUBLIC_KEY_BYTES:
            raise NoteError("a public key is 32 bytes")
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        object.__setattr__(self, "key_id", sha256(named).digest()[:_ID_BYTES])

    @classmethod
    def of(cls, name: str, key: NamedKey) -> Self:
        """``name`` is the one that stands in notes; that of the key's version stays inside."""
        return cls(name, _private(key).public_key().public_bytes_raw())

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Raises NoteError."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if not key.startswith(_ED25519):
            raise NoteError("only keys of Ed25519 sign checkpoints")
        found = cls(name, key[len(_ED25519) :])
        if key_id != found.key_id.hex():
            raise NoteError("the key id is not the one of this name and key")
        return found

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public_key).decode()}"

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """As it stands in a note: nobody has checked it."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """``text`` includes its last newline."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Raises NoteError. A note that was read is not yet one that was signed: :meth:`check`."""
        if len(note.encode(errors="replace")) > MOST_BYTES:
            raise NoteError(f"a note is at most {MOST_BYTES:,} bytes")
        _check_characters(note)
        # The text may hold empty lines itself, so it ends at the last one.
        text, empty_line, lines = note.rpartition("\n\n")
        if not empty_line or not text or not lines.endswith("\n"):
            raise NoteError("a note is a text, an empty line, and lines of signatures")
        signed = lines[:-1].split("\n")
        if len(signed) > MOST_SIGNATURES:
            raise NoteError(f"a note has at most {MOST_SIGNATURES} signatures")
        return cls(f"{text}\n", tuple(map(_signature, signed)))

    def check(self, keys: Iterable[VerifierKey]) -> VerifierKey:
        """The key of these that signed it. Raises NoteError when none did, or when a signature of one is false."""
        by_name = {(key.name, key.key_id): key for key in keys}
        found = None
        for signed in self.signatures:
            key = by_name.get((signed.name, signed.key_id))
            if key is None:
                # Somebody else's, for example a witness's.
                continue
            if not key.verifies(self.text, signed.signature):
                raise NoteError("a signature does not verify")
            found = found or key
        if found is None:
            raise NoteError("no key that is trusted has signed this")
        return found


def sign_note(text: str, name: str, key: NamedKey) -> str:
    """The note with one signature. ``key`` is the private key of Ed25519 (RFC 8032 §5.1.5). Raises NoteError."""
    _check_characters(text)
    if not text.endswith("\n") or len(text.encode()) > MOST_BYTES // 2:
        raise NoteError("a text ends in a newline and is not long")
    verifier = VerifierKey.of(name, key)
    signature = _private(key).sign(text.encode())
    return f"{text}\n{_DASH}{name} {b64encode(verifier.key_id + signature).decode()}\n"


def split_notes(document: str) -> list[str]:
    """The notes of a document that has them one after the other, each followed by an empty line.

    A part of one, which an interruption left behind, is left out, at the end and anywhere else. For notes whose text has
    no empty line, as that of a checkpoint.
    """
    parts = document.split("\n\n")[:-1]
    return [
        f"{text}\n\n{signatures}\n"
        for text, signatures in pairwise(parts)
        if signatures.startswith(_DASH) and text and not text.startswith(_DASH)
    ]


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name or "+" in name or any(map(_is_space, name)):
        raise NoteError("a line of a signature is a dash, the name of a key, and base64")
    decoded = _decoded(encoded)
    if len(decoded) <= _ID_BYTES:
        raise NoteError("a signature is longer than the key id before it")
    return Signature(name, decoded[:_ID_BYTES], decoded[_ID_BYTES:])


def _decoded(text: str) -> bytes:
    try:
        decoded = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = None
    # Base64 can be written in several ways where bits are left over; only one of them is taken.
    if decoded is None or b64encode(decoded).decode() != text:
        raise NoteError("a key or a signature is not in base64")
    return decoded


def _check_characters(text: str) -> None:
    if any(character < _FIRST_PRINTABLE and character != "\n" for character in text):
        raise NoteError("a note has no control characters but newlines")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NoteError("a note is UTF-8")


def _is_space(character: str) -> bool:
    return character.isspace() or character < _FIRST_PRINTABLE


def _private(key: NamedKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.key.reveal())
