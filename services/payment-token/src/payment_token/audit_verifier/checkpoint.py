"""Checkpoints (C2SP tlog-checkpoint): origin, tree size and root, signed; and the keys that are trusted to sign them."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from payment_token.audit_verifier.signed_note import (
    COSIGNATURE,
    ED25519,
    NoteError,
    SignedNote,
    VerifierKey,
)

HASH_BYTES = 32
_SIGNATURES = "— "
_TEXT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoteError. The log writes no further lines, so there are none."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise NoteError("it is not a checkpoint: origin, tree size and root, a line each")
        origin, size, encoded = match.groups()
        root = b64decode(encoded)
        if len(root) != HASH_BYTES or b64encode(root).decode() != encoded:
            raise NoteError("the root of the checkpoint is damaged")
        return cls(origin, int(size), root)


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint, and the trusted key of the log that signed it."""

    checkpoint: Checkpoint
    key: VerifierKey


class TrustedKeys:
    """The keys of one log, and of witnesses that have seen it. ``origin`` is the name of the log and of its keys."""

    def __init__(self, keys: Iterable[VerifierKey]) -> None:
        given = tuple(dict.fromkeys(keys))
        self.log_keys = tuple(key for key in given if key.algorithm == ED25519)
        self.witnesses = tuple(key for key in given if key.algorithm == COSIGNATURE)
        names = {key.name for key in self.log_keys}
        if len(names) != 1:
            raise NoteError("the keys must be of one log: at least one, and all of the same name")
        (self.origin,) = names
        self._opened: tuple[bytes, Opened] | None = None

    def open(self, note: str) -> Opened:
        """Raises NoteError unless a trusted key of this log signed it."""
        digest = sha256(note.encode("utf-8", "surrogatepass")).digest()
        # The same note stands in the database and outside of it: one check is enough for both.
        if self._opened is not None and self._opened[0] == digest:
            return self._opened[1]
        signed = SignedNote.parse(note)
        key = self.signer(signed)
        checkpoint = Checkpoint.parse(signed.text)
        if checkpoint.origin != self.origin:
            raise NoteError(f"the checkpoint is of {checkpoint.origin!r}, not of {self.origin!r}")
        opened = Opened(checkpoint, key)
        self._opened = digest, opened
        return opened

    def signer(self, signed: SignedNote) -> VerifierKey:
        """Raises NoteError when there is none."""
        for key in self.log_keys:
            if signed.signed_by(key):
                return key
        raise NoteError("no trusted key signed it")

    def witnessed(self, note: str) -> bool:
        """Whether a trusted witness has signed it too. Raises NoteError for a signature of one that does not hold."""
        signed = SignedNote.parse(note)
        present = [key for key in self.witnesses if signed.names(key)]
        for key in present:
            if not signed.signed_by(key):
                raise NoteError(f"the signature of the witness {key.name} does not hold")
        return bool(present)


def split_notes(lines: Iterable[str]) -> Iterator[str]:
    """The notes of a file that holds them one after the other, each followed by an empty line.

    A text and its signatures are parted by an empty line as well. What an interrupted write has left comes out by itself: no
    key signed it.
    """
    text = None
    for part in _parts(lines):
        if not part.startswith(_SIGNATURES):
            if text is not None:
                yield text
            text = part
        elif text is None:
            yield part
        else:
            yield f"{text}\n{part}"
            text = None
    if text is not None:
        yield text


def _parts(lines: Iterable[str]) -> Iterator[str]:
    part: list[str] = []
    for line in lines:
        if line != "\n":
            part.append(line)
        elif part:
            yield "".join(part)
            part = []
    if part:
        yield "".join(part)
