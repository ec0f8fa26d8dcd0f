"""The size and the root of a log's tree, to be signed as a note (C2SP tlog-checkpoint).

Three lines: origin, size, root in base64. The origin names the log, so that a checkpoint of one log is none of another. We
write no further lines, and take none: nobody has said what they would mean here.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from payment_token.domain.keys import NamedKey
from payment_token.domain.transparency.hashes import HASH_BYTES
from payment_token.domain.transparency.signed_note import (
    NoteError,
    SignedNote,
    VerifierKey,
    sign_note,
)

MOST_SIZE = 2**63 - 1

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoteError."""
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1] or not lines[0]:
            raise NoteError("a checkpoint is three lines: origin, size and root")
        origin, size, encoded, _ = lines
        if not _SIZE.fullmatch(size) or int(size) > MOST_SIZE:
            raise NoteError("the size of a tree is a number without leading zeros")
        try:
            root = b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            root = b""
        if len(root) != HASH_BYTES or b64encode(root).decode() != encoded:
            raise NoteError("the root of a tree is 32 bytes in base64")
        return cls(origin, int(size), root)

    @classmethod
    def read(cls, note: str) -> Self:
        """What a note says, whoever signed it. Raises NoteError."""
        return cls.parse(SignedNote.parse(note).text)

    @classmethod
    def verified(cls, note: str, origin: str, keys: Iterable[VerifierKey]) -> Self:
        """What a note says that one of these keys signed, for this log. Raises NoteError."""
        signed = SignedNote.parse(note)
        signed.check(keys)
        found = cls.parse(signed.text)
        if found.origin != origin:
            raise NoteError("this is a checkpoint of another log")
        return found

    def signed(self, key: NamedKey) -> str:
        """The note. Its key is named as the log is. Raises NoteError for an origin that cannot name a key."""
        return sign_note(self.text, self.origin, key)
