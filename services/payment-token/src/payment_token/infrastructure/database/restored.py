"""A restored database, as recovery changes it. The contract is :mod:`payment_token.domain.recovery.ports`.

One transaction of the owner of the tables: whoever runs into it finds the database as it was, or recovered.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

from payment_token.domain.audit import Actor, AuditEvent, Chain, EventKind, Outcome
from payment_token.domain.audit_archive.growing_tree import Tile
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.sealed_log import Entry, SealedSeal
from payment_token.domain.recovery.comparison import RecoveryError
from payment_token.domain.recovery.endings import Endings
from payment_token.domain.recovery.ports import Applied, OutsideCheckpoint
from payment_token.infrastructure.database.ended_again import end_again
from payment_token.infrastructure.database.put_back import put_back_seals, put_back_tiles
from payment_token.infrastructure.database.sealed_log import PostgresSealedLog, connected

# Whoever writes a record or a seal waits for these, and recovery for whoever is at it. Then a process that nobody has
# stopped, and that has no lease, is found too.
_LOCKS = "LOCK TABLE decrypt_audit_log, audit_seals, payment_tokens IN SHARE ROW EXCLUSIVE MODE"

# The sealer's own, for as long as it lives.
_SEALER = "SELECT pg_try_advisory_xact_lock(hashtextextended('payment-token audit sealer', 0))"

_USERS = (
    "SELECT description FROM key_holders WHERE lease_until > clock_timestamp() ORDER BY description"
)

_LAST_RECORDS = """
SELECT record, recorded_at FROM decrypt_audit_log WHERE month >= %s AND recorded_at >= %s ORDER BY recorded_at
"""

_ABANDONED = """
SELECT EXISTS (
    SELECT FROM decrypt_audit_log
     WHERE sequence = 1 AND record LIKE '%%"event":"log_recovered"%%'
       AND record::jsonb -> 'details' ->> 'abandoned_tree_size' = %s
       AND record::jsonb -> 'details' ->> 'abandoned_root' = %s)
"""

_RECORD = "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (%s, %s, %s)"

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresRestored:
    """``url`` is the owner's. ``recorder`` is who recovers, as the record of it says."""

    def __init__(self, url: str, recorder: Actor, environment: str) -> None:
        self._url = url
        self._recorder = recorder
        self._environment = environment

    @asynccontextmanager
    async def alone(self, *, keep: bool) -> AsyncIterator["RestoredTables"]:
        async with connected(self._url) as connection:
            await connection.execute("SET statement_timeout = 0")
            async with connection.transaction(force_rollback=not keep):
                await _lock(connection)
                yield RestoredTables(connection, self._recorder, self._environment)


class RestoredTables:
    def __init__(self, connection: AsyncConnection, recorder: Actor, environment: str) -> None:
        self._connection = connection
        self._recorder = recorder
        self._environment = environment
        self._log = PostgresSealedLog(connection)

    async def users(self) -> Sequence[str]:
        cursor = await self._connection.execute(_USERS)
        return [description for (description,) in await cursor.fetchall()]

    async def newest(self) -> SealedSeal | None:
        return await self._log.newest()

    async def seal_at(self, tree_size: int) -> SealedSeal | None:
        return await self._log.seal_at(tree_size)

    async def last_records(self, span: timedelta) -> AsyncIterator[tuple[bytes, datetime]]:
        newest = await self.newest()
        since = _LONG_AGO if newest is None else newest.seal.sealed_at - span
        async with self._connection.cursor(name="last_records") as cursor:
            await cursor.execute(_LAST_RECORDS, (Month.of(since).first_day, since))
            async for record, recorded_at in cursor:
                yield record.encode(), recorded_at

    async def has_abandoned(self, checkpoint: OutsideCheckpoint) -> bool:
        parameters = (str(checkpoint.size), checkpoint.root.hex())
        cursor = await self._connection.execute(_ABANDONED, parameters)
        return await cursor.fetchone() == (True,)

    async def put_back(self, entries: Iterator[tuple[SealedSeal, Sequence[Entry]]]) -> int:
        return await put_back_seals(self._connection, entries)

    async def put_back_tiles(self, tiles: Iterator[Tile]) -> None:
        await put_back_tiles(self._connection, tiles)

    async def end(self, endings: Endings) -> Applied:
        return await end_again(self._connection, endings, self._environment)

    async def record(self, details: Mapping[str, int | str]) -> None:
        newest = await self.newest()
        opening: dict[str, int | str] = {
            "tree_size": 0 if newest is None else newest.seal.tree_size,
            "root": "" if newest is None else newest.root.hex(),
        }
        events = [
            AuditEvent(EventKind.LOG_OPENED, Outcome.DONE, self._recorder, details=opening),
            AuditEvent(EventKind.LOG_RECOVERED, Outcome.DONE, self._recorder, details=details),
            AuditEvent(EventKind.LOG_CLOSED, Outcome.DONE, self._recorder),
        ]
        now = await self._log.now()
        for record in Chain(uuid4()).draft(events, now):
            row = (record.writer_id, record.sequence, record.text)
            await self._connection.execute(_RECORD, row)


async def _lock(connection: AsyncConnection) -> None:
    reason = None
    await connection.execute("SET LOCAL lock_timeout = '5s'")
    try:
        await connection.execute(_LOCKS)
        alone = await (await connection.execute(_SEALER)).fetchone()
        if alone != (True,):
            reason = "the sealer runs on this database: stop it"
    except LockNotAvailable:
        reason = "somebody writes to this database: stop every process of the service, the sealer and maintenance too"
    except InsufficientPrivilege:
        reason = "only the owner of the tables recovers: MIGRATION_DATABASE_URL names that login"
    if reason is not None:
        raise RecoveryError(reason)
    await connection.execute("SET LOCAL lock_timeout = 0")
