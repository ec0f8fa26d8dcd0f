"""What the sealer has sealed: entries in the order of the leaves, and the seals over them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from payment_token.domain.audit_archive.layout import ArchiveError, entry_time, parsed_time
from payment_token.domain.audit_archive.month import Month


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one writer, from ``first`` to ``last``."""

    writer_id: UUID
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Seal:
    """The leaves from ``first_index`` to ``tree_size`` - 1 are the runs, in their order."""

    first_index: int
    tree_size: int
    sealed_at: datetime
    runs: Sequence[Run]

    @property
    def line(self) -> str:
        """As ``seals.jsonl`` has it."""
        content = {
            "first_index": self.first_index,
            "tree_size": self.tree_size,
            "sealed_at": entry_time(self.sealed_at),
            "runs": [[run.writer_id.hex, run.first, run.last] for run in self.runs],
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Raises ArchiveError."""
        try:
            content = json.loads(line)
            runs = [Run(UUID(hex=writer), first, last) for writer, first, last in content["runs"]]
            return cls(
                content["first_index"],
                content["tree_size"],
                parsed_time(content["sealed_at"]),
                runs,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ArchiveError("a line of seals.jsonl is damaged") from None


@dataclass(frozen=True, slots=True)
class SealedSeal:
    """A seal with what signs it: the root over all leaves up to it, and its checkpoint, a signed note."""

    seal: Seal
    root: bytes
    checkpoint: str
    signing_key: str


@dataclass(frozen=True, slots=True)
class Entry:
    """``record`` is the text that was hashed."""

    writer_id: UUID
    sequence: int
    recorded_at: datetime
    record: bytes

    @property
    def bytes(self) -> bytes:
        """What the leaf is the hash of."""
        return self.record + b"\n" + entry_time(self.recorded_at).encode()

    @property
    def month(self) -> Month:
        return Month.of(self.recorded_at)


def parsed_entry(entry: bytes) -> tuple[bytes, datetime]:
    """The record and its ``recorded_at``. Raises ArchiveError."""
    record, _, time = entry.rpartition(b"\n")
    try:
        return record, parsed_time(time.decode())
    except ValueError:
        raise ArchiveError("an entry has no time") from None
