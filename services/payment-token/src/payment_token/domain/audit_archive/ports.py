"""What the archive needs from the world outside.

Methods that read a database may raise DatabaseUnavailableError, those of an archive ArchiveError.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from payment_token.domain.audit_archive.manifest import Manifest
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.retention import Hold
from payment_token.domain.audit_archive.sealed_log import Entry, Seal, SealedSeal


@dataclass(frozen=True, slots=True)
class Writer:
    """A writer with records that are not sealed, and what it was, as far as its first record says."""

    writer_id: UUID
    records: int
    recorder: str


@dataclass(frozen=True, slots=True)
class MonthInDatabase:
    """``last_size`` is the size of the tree with the last seal that holds a record of the month; ``None``: there is none."""

    last_size: int | None
    unsealed: Sequence[Writer]


class SealedLog(Protocol):
    """The log as the database has it."""

    async def now(self) -> datetime: ...

    async def newest(self) -> SealedSeal | None: ...

    async def seal_at(self, tree_size: int) -> SealedSeal | None: ...

    def seals(self, after: int, up_to: int) -> AsyncIterator[SealedSeal]:
        """Those that make the tree larger than ``after``, in order."""
        ...

    def entries(self, seals: Sequence[Seal]) -> AsyncGenerator[Entry]:
        """In the order of the leaves. What is not there is left out; whoever reads must notice."""
        ...

    async def public_keys(self) -> Sequence[bytes]:
        """Those that may have signed checkpoints, raw Ed25519, the oldest first."""
        ...

    async def month(self, month: Month, after: int) -> MonthInDatabase:
        """``after`` is the size of the tree where the month before it ended."""
        ...


class Archive(Protocol):
    """The files of one archive, by their paths as :mod:`layout` has them."""

    @property
    def location(self) -> str: ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else writes to it meanwhile. Raises ArchiveError when somebody does."""
        ...

    def read(self, path: str) -> bytes | None: ...

    def read_beginning(self, path: str, length: int) -> bytes | None: ...

    def write(self, path: str, content: bytes) -> None:
        """Durable and whole, or not there."""
        ...

    def remove(self, path: str) -> None: ...

    def append(self, path: str, content: bytes) -> None:
        """Durable; an interruption may leave a part of it, which :meth:`cut` takes away."""
        ...

    def cut(self, path: str, mark: bytes) -> None:
        """Takes away what comes after the last line that has the mark in it or ends it; all of it without a mark."""
        ...

    def lines_from(
        self, path: str, begins: bytes, is_before: Callable[[bytes], bool]
    ) -> Iterator[bytes]:
        """Those from the first part on that is not before what is looked for; the parts are in order.

        A part begins at the beginning of a line, with ``begins``; ``is_before`` is asked about the first bytes of one.
        """
        ...

    def months(self) -> Sequence[Month]:
        """The closed months that it has, in order."""
        ...


class ManifestSigner(Protocol):
    async def __call__(self, text: str) -> str:
        """The signed note of the text, by the active audit signing key."""
        ...


class ArchiveVerifier(Protocol):
    """The independent verifier."""

    async def __call__(self, location: str, since: int = 0) -> None:
        """All of it, or what was sealed since the tree had a size. Raises ArchiveError that says what is wrong, and where."""
        ...


@dataclass(frozen=True, slots=True)
class NotedExport:
    month: Month
    verified_at: datetime | None
    detached_at: datetime | None


class ExportRegister(Protocol):
    """What the database knows of the archive at one location."""

    async def noted(self) -> Sequence[NotedExport]: ...

    async def note_verified(self, manifest: Manifest) -> None: ...

    async def note_detached(self, month: Month) -> None: ...


class MonthPartitions(Protocol):
    """The months that the database has records of, as the owner of its tables."""

    async def present(self) -> Sequence[Month]: ...

    async def count(self, month: Month) -> int: ...

    async def drop(self, month: Month) -> None:
        """Detached first, without a lock that writers wait behind. Raises BusyError (of :mod:`maintain`)."""
        ...


class HoldRegister(Protocol):
    async def all(self) -> Sequence[Hold]:
        """The oldest first."""
        ...

    async def place(self, hold: Hold) -> None: ...

    async def release(self, hold_id: str) -> bool:
        """``False`` when there is none of that id, or it was released before."""
        ...
