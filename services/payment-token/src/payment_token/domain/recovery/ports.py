"""What recovery needs of a restored database, as its owner: everything within one transaction."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Protocol

from payment_token.domain.audit_archive.growing_tree import Tile
from payment_token.domain.audit_archive.sealed_log import Entry, SealedSeal
from payment_token.domain.recovery.endings import Endings


@dataclass(frozen=True, slots=True)
class OutsideCheckpoint:
    """One that was kept where nobody who restores a database can change it; its signature was checked."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """How many of what was alive are ended now. ``unreadable_tokens`` are under keys that no longer exist."""

    revoked_tokens: int = 0
    ended_sad: int = 0
    revoked_api_keys: int = 0
    shortened_api_keys: int = 0
    retired_bdks: int = 0
    stopped_devices: int = 0
    ended_keys: int = 0
    unreadable_tokens: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def any(self) -> bool:
        return any(self.counts.values())


class RestoredDatabase(Protocol):
    """Raises RecoveryError for what must not be, DatabaseUnavailableError."""

    async def users(self) -> Sequence[str]:
        """Processes of the service that run on it."""
        ...

    async def newest(self) -> SealedSeal | None: ...

    async def seal_at(self, tree_size: int) -> SealedSeal | None: ...

    def last_records(self, span: timedelta) -> AsyncIterator[tuple[bytes, datetime]]:
        """Those of so long before its newest record."""
        ...

    async def has_abandoned(self, checkpoint: OutsideCheckpoint) -> bool:
        """Whether a recovery has recorded already that this tree was given up."""
        ...

    async def put_back(self, entries: Iterator[tuple[SealedSeal, Sequence[Entry]]]) -> int:
        """Records, seals and chains, as they were. Returns how many records were not there."""
        ...

    async def put_back_tiles(self, tiles: Iterator[Tile]) -> None: ...

    async def end(self, endings: Endings) -> Applied: ...

    async def record(self, details: Mapping[str, int | str]) -> None:
        """``log_recovered``, by a writer of its own."""
        ...


class Restored(Protocol):
    def alone(self, *, keep: bool) -> AbstractAsyncContextManager[RestoredDatabase]:
        """One transaction, in which nobody seals or serves. It is taken back at the end of the block unless ``keep``."""
        ...
