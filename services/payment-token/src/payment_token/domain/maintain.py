"""Maintain: the tables keep the shape that requests rely on, and what has expired goes.

1. one maintainer at a time; whoever comes second does nothing
2. make the partitions that tokens of the longest life will need, and some more; and those of the audit log for a year
3. drop each partition whose purge day has come, the oldest first, once that is on record
4. delete idempotency keys whose window has passed, in batches
5. likewise what workers used of their limits, once the windows are over for an hour
6. likewise failures under a KSN, after 30 days
7. likewise events of terminals, once they are as old as events are kept, and failures that no rule looks at any more

It may be stopped at any moment and started again. What cannot be done now, because somebody is at work on a partition,
is left for the next run; the rest is done all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Protocol

from payment_token.domain.operator_error import OperatorError

SPARE_DAYS = 14
"""Partitions beyond the longest life of a token: for so long nobody notices that maintenance does not run."""

AUDIT_MONTHS_AHEAD = 13

_KEYS_IN_A_BATCH = 2_000
_USES_IN_A_BATCH = 2_000
_ATTEMPTS_IN_A_BATCH = 2_000
_EVENTS_IN_A_BATCH = 2_000
_PAUSE_SECONDS = 0.05


class MaintenanceError(OperatorError):
    """The tables could not be maintained. The text says why, and what to do."""


class BusyError(Exception):
    """Somebody is at work on what would have to be locked, and did not end in time."""


@dataclass(frozen=True, slots=True)
class Partition:
    """``about_tokens`` is the database's own estimate: counting would read the whole partition."""

    purge_day: date
    about_tokens: int


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """``last`` is the latest end of a window among them; ``None`` when there were none."""

    deleted: int
    last: datetime | None


class MaintainedTables(Protocol):
    """Any method may raise MaintenanceError or DatabaseUnavailableError, and BusyError where it says so."""

    async def today(self) -> date:
        """The database's day, UTC."""
        ...

    async def partitions(self, today: date) -> Sequence[Partition]:
        """In the order of their days. Those that an interrupted drop left behind are among them."""
        ...

    async def make_partition(self, purge_day: date) -> None:
        """Requests go on meanwhile. Raises BusyError."""
        ...

    async def make_audit_months(self, ahead: int) -> int:
        """Makes what is not there of this month and so many after it, and returns how many it made. Raises BusyError."""
        ...

    async def drop_partition(self, purge_day: date) -> None:
        """Requests go on meanwhile. May be interrupted at any point, and asked for again. Raises BusyError."""
        ...

    async def delete_expired_keys(self, since: datetime | None, limit: int) -> KeyBatch:
        """The next ones whose windows ended at ``since`` or later, in one transaction. Skips those in use."""
        ...

    async def delete_old_uses(self, limit: int) -> int:
        """Tokens charged to workers in windows that ended an hour ago or earlier, in one transaction. Returns how many."""
        ...

    async def delete_old_windows(self, limit: int) -> int:
        """Likewise the counts of such windows, of which no use is left."""
        ...

    async def delete_old_attempts(self, limit: int) -> int:
        """Failures under KSNs of which the last is 30 days old, in one transaction. Returns how many."""
        ...

    async def delete_old_events(self, kept: timedelta, limit: int) -> int:
        """The oldest of those that are older than that, in one transaction. Returns how many."""
        ...

    async def delete_old_failures(self, limit: int) -> int:
        """Likewise the failures of terminals that are older than any rule looks back."""
        ...


class Maintenance(Protocol):
    def alone(self) -> AbstractAsyncContextManager[MaintainedTables | None]:
        """``None`` while another process maintains this database. Nobody else does until the block ends."""
        ...


class Purges(Protocol):
    """Keeps record of what is purged."""

    async def purging(self, partition: Partition) -> None:
        """Returns once the record is durable. Raises AuditUnavailableError: then the partition stays."""
        ...


@dataclass(frozen=True, slots=True)
class Maintained:
    """``missing`` and ``kept`` are the purge days whose partitions could not be made or dropped this time.

    ``audit_months`` is ``None`` when the partitions of the audit log could not be looked after. ``uses`` are tokens that
    were charged to workers, ``events`` rows of what terminals did.
    """

    made: int
    audit_months: int | None
    dropped: int
    about_tokens: int
    keys: int
    uses: int
    events: int
    missing: Sequence[date]
    kept: Sequence[date]

    @property
    def complete(self) -> bool:
        return not self.missing and not self.kept and self.audit_months is not None


class Maintain:
    def __init__(
        self,
        maintenance: Maintenance,
        purges: Purges,
        max_ttl: timedelta,
        events_kept: timedelta = timedelta(days=400),
    ) -> None:
        self._maintenance = maintenance
        self._purges = purges
        self._max_ttl = max_ttl
        self._events_kept = events_kept

    async def __call__(self) -> Maintained | None:
        """``None`` when another process maintains already.

        Raises MaintenanceError, DatabaseUnavailableError, AuditUnavailableError.
        """
        # 1.
        async with self._maintenance.alone() as tables:
            if tables is None:
                return None
            today = await tables.today()
            present = await tables.partitions(today)
            # 2. before anything is dropped: a purge can wait, a request cannot
            needed = needed_purge_days(today, self._max_ttl + timedelta(days=SPARE_DAYS))
            have = {partition.purge_day for partition in present}
            lacking = [day for day in needed if day not in have]
            made = await _make(tables, lacking)
            audit_months = await _make_audit_months(tables)
            # 3.
            due = [partition for partition in present if partition.purge_day <= today]
            dropped = await self._drop(tables, due)
            # 4.
            keys = await _delete_keys(tables)
            # 5.
            uses = await _delete_uses(tables)
            # 6.
            await _in_batches(tables.delete_old_attempts, _ATTEMPTS_IN_A_BATCH)
            # 7.
            events = await _in_batches(
                partial(tables.delete_old_events, self._events_kept), _EVENTS_IN_A_BATCH
            )
            await _in_batches(tables.delete_old_failures, _EVENTS_IN_A_BATCH)
            return Maintained(
                made=made,
                audit_months=audit_months,
                dropped=dropped,
                about_tokens=sum(partition.about_tokens for partition in due[:dropped]),
                keys=keys,
                uses=uses,
                events=events,
                missing=lacking[made:],
                kept=[partition.purge_day for partition in due[dropped:]],
            )

    async def _drop(self, tables: MaintainedTables, due: Sequence[Partition]) -> int:
        for dropped, partition in enumerate(due):
            await self._purges.purging(partition)
            try:
                await tables.drop_partition(partition.purge_day)
            except BusyError:
                # The database takes one out of a table at a time, so the younger ones wait with it.
                return dropped
        return len(due)


async def _make(tables: MaintainedTables, days: Sequence[date]) -> int:
    for made, day in enumerate(days):
        try:
            await tables.make_partition(day)
        except BusyError:
            # Whoever is at work on the table is so for every day.
            return made
    return len(days)


async def _make_audit_months(tables: MaintainedTables) -> int | None:
    try:
        return await tables.make_audit_months(AUDIT_MONTHS_AHEAD)
    except BusyError:
        return None


async def _delete_keys(tables: MaintainedTables) -> int:
    deleted, since = 0, None
    while True:
        batch = await tables.delete_expired_keys(since, _KEYS_IN_A_BATCH)
        deleted += batch.deleted
        if batch.deleted < _KEYS_IN_A_BATCH:
            return deleted
        since = batch.last
        await asyncio.sleep(_PAUSE_SECONDS)


async def _in_batches(delete: Callable[[int], Awaitable[int]], limit: int) -> int:
    """Returns how many were deleted."""
    total = 0
    while True:
        deleted = await delete(limit)
        total += deleted
        if deleted < limit:
            return total
        await asyncio.sleep(_PAUSE_SECONDS)


async def _delete_uses(tables: MaintainedTables) -> int:
    """A window goes after the last use in it, so that none is ever left behind."""
    deleted = 0
    while True:
        uses = await tables.delete_old_uses(_USES_IN_A_BATCH)
        deleted += uses
        windows = await tables.delete_old_windows(_USES_IN_A_BATCH)
        if not uses and windows < _USES_IN_A_BATCH:
            return deleted
        await asyncio.sleep(_PAUSE_SECONDS)


def needed_purge_days(today: date, max_ttl: timedelta) -> list[date]:
    """The purge days of tokens that are made today, from the shortest life to the longest."""
    longest = -(-max_ttl // timedelta(days=1))
    return [today + timedelta(days=number) for number in range(1, longest + 2)]
