"""Proofs as files (C2SP tlog-proof): a record, its place in the log, and a signed checkpoint that it leads to.

c2sp.org/tlog-proof@v1
extra BASE64            the entry: the record, a newline, recorded_at
index N
BASE64                  the path, from the leaf's sibling up
(an empty line)
the checkpoint, a signed note
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Self

from payment_token.audit_verifier.checkpoint import HASH_BYTES, Opened, TrustedKeys
from payment_token.audit_verifier.proofs import ProofError, inclusion_path, root_of_inclusion
from payment_token.audit_verifier.tree import HashesAt, leaf_hash

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,17})", re.ASCII)
_EXTRA = "extra "
_MOST_HASHES = 64


@dataclass(frozen=True, slots=True)
class TlogProof:
    entry: bytes
    index: int
    path: tuple[bytes, ...]
    note: str

    @classmethod
    def of(cls, entry: bytes, index: int, size: int, hashes_at: HashesAt, note: str) -> Self:
        """``note`` is a checkpoint of that size. Raises ProofError, or what ``hashes_at`` does."""
        return cls(entry, index, tuple(inclusion_path(index, size, hashes_at)), note)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ProofError."""
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines[0] != _FIRST_LINE or not "".join(lines[1:2]).startswith(_EXTRA):
            raise ProofError("it is no proof of a record")
        index = _INDEX.fullmatch(lines[2]) if len(lines) > 2 else None  # noqa: PLR2004
        path = tuple(_decoded(line) for line in lines[3:])
        if index is None or len(path) > _MOST_HASHES or any(len(h) != HASH_BYTES for h in path):
            raise ProofError("it is no proof of a record")
        return cls(_decoded(lines[1].removeprefix(_EXTRA)), int(index[1]), path, note)

    def __str__(self) -> str:
        hashes = "".join(f"{b64encode(node).decode()}\n" for node in self.path)
        entry = b64encode(self.entry).decode()
        return f"{_FIRST_LINE}\n{_EXTRA}{entry}\nindex {self.index}\n{hashes}\n{self.note}"

    @property
    def record(self) -> bytes:
        return self.entry.rpartition(b"\n")[0]

    @property
    def recorded_at(self) -> str:
        return self.entry.rpartition(b"\n")[2].decode("ascii", "replace")

    def check(self, keys: TrustedKeys) -> Opened:
        """Raises ProofError or NoteError unless the record is in the log that a trusted key signed."""
        opened = keys.open(self.note)
        checkpoint = opened.checkpoint
        root = root_of_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, self.path)
        if root != checkpoint.root:
            raise ProofError("the record does not lead to the root that was signed")
        return opened


def _decoded(line: str) -> bytes:
    try:
        return b64decode(line, validate=True)
    except ValueError:
        raise ProofError("its base64 is damaged") from None
