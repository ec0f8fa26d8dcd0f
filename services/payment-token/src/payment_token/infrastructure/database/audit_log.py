"""The audit log in PostgreSQL. The contract is :class:`payment_token.domain.ports.AuditLog`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from functools import lru_cache
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Literal

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome, Receipt, Record
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.ports import Clock, TokenChangedError
from payment_token.infrastructure.database.bounded_connection import bounded_connection_of
from payment_token.infrastructure.database.chain_writer import (
    BATCH_SECONDS,
    BOUND_SECONDS,
    OPENING_SECONDS,
    ChainWriter,
    LiveToken,
    NotWrittenError,
    OutcomeUnknownError,
)
from payment_token.infrastructure.database.columns import columns
from payment_token.infrastructure.database.partitions import on_day
from payment_token.infrastructure.database.pool import AUDIT_CONNECTIONS, Pool
from payment_token.infrastructure.database.seal_lag import SealLag

logger = logging.getLogger(__name__)

# A record whose time is not the database's is refused by the sealer, for ever. So a batch that was long on its way, or
# whose process has not yet heard that the database's clock was set, does not come in. Asked once for all its records.
# Month and time of a row are two readings of the clock, and one must be of the other: none is written as a month ends.
_IN_TIME: LiteralString = """(
    SELECT %b - moment BETWEEN interval '-1.9 s' AND interval '1.9 s'
           AND date_trunc('month', moment) = date_trunc('month', moment + interval '50 ms')
      FROM clock_timestamp() AS moment)"""
_MONTH_ENDS = timedelta(milliseconds=150)

_INSERT: LiteralString = f"""
INSERT INTO decrypt_audit_log (writer_id, sequence, record)
SELECT %b, sequence, record FROM unnest(%b::bigint[], %b::text[]) AS arrived (sequence, record)
 WHERE {_IN_TIME} ORDER BY sequence
"""

# The share lock makes a revocation, and the end of SAD, wait for this transaction or win against it: never both. A token
# that somebody is just changing is passed over, and its release waits for it by itself. The records are a chain: one that
# may not be written keeps all of them out, and the statement says which.
_INSERT_WHERE_LIVE = SQL("""
WITH clocks AS MATERIALIZED (SELECT {in_time} AS agree), arrived AS (
    SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::date[], %b::boolean[])
               AS arrived (sequence, record, merchant_id, token_id, purge_day, with_sad)
), {of_days}, not_live AS MATERIALIZED (
    SELECT sequence
      FROM arrived LEFT JOIN ({any_day}) AS live USING (merchant_id, token_id)
     WHERE token_id IS NOT NULL AND (sad_is_live IS NULL OR (with_sad AND NOT sad_is_live))
), written AS (
    INSERT INTO decrypt_audit_log (writer_id, sequence, record)
    SELECT %b, sequence, record FROM arrived
     WHERE NOT EXISTS (SELECT FROM not_live) AND (SELECT agree FROM clocks) ORDER BY sequence
)
SELECT sequence FROM not_live UNION ALL SELECT -1 FROM clocks WHERE NOT agree
""")

# Tokens of one purge day lie in one partition, and the plan knows which.
_LIVE_ON_DAY = SQL("""{name} AS MATERIALIZED (
    SELECT merchant_id, token_id,
           coalesce(sad_deadline > clock_timestamp() AND sad_destroyed_at IS NULL, false) AS sad_is_live
      FROM payment_tokens
     WHERE purge_day = {day}
       AND (merchant_id, token_id) IN (SELECT merchant_id, token_id FROM arrived WHERE purge_day = {day})
       AND status = 'active' AND expires_at > clock_timestamp()
       FOR SHARE SKIP LOCKED
)""")

_LIVE_ALONE = """
SELECT coalesce(sad_deadline > clock_timestamp() AND sad_destroyed_at IS NULL, false)
  FROM payment_tokens
 WHERE purge_day = {day} AND merchant_id = %s AND token_id = %s
   AND status = 'active' AND expires_at > clock_timestamp()
   FOR SHARE
"""

_LATEST_SEAL = "SELECT tree_size, root FROM audit_seals ORDER BY tree_size DESC LIMIT 1"

# Meets the lock, the privileges and the server's mode that an insert meets, and leaves nothing behind.
_COULD_INSERT = """
WITH nothing AS (
    INSERT INTO decrypt_audit_log (writer_id, sequence, record) SELECT NULL, NULL, NULL WHERE false
)
SELECT EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = to_regclass('decrypt_audit_log') AND NOT inhdetachpending
                  AND inhrelid = to_regclass('decrypt_audit_log_'
                                             || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY_MM')))
"""

# As long as a record is, and in every index.
_INSERT_NOTHING = """
INSERT INTO decrypt_audit_log (writer_id, sequence, record)
VALUES (%s, 0, json_build_object('token_id', 'none', 'event', repeat('x', 1000))::text)
"""

# Classes of SQLSTATEs after which a statement has left nothing: data, constraints, transactions, logins, rollbacks,
# access, resources, limits, states.
_UNDONE = ("22", "23", "25", "28", "40", "42", "53", "54", "55")
_CANCELLED = "57014"
# Of class 40, "statement completion unknown" is what its name says. Of class 23, a record that is there already is ours.
_UNKNOWN = ("40003", "23505")

_OUT_OF_TIME = -1

# Statements are remembered by the days of their tokens. Most batches have two or three; a statement on more is rare.
_STATEMENTS = 64

_KINDS = ("bigint", "text", "text", "text", "date", "boolean")
_NOTHING_LIVE = (None, None, None, False)


class PostgresAuditLog:
    """For one event loop. ``recorder`` is this process, as the records of its writers name it."""

    def __init__(self, pool: Pool, writing: Pool, clock: Clock, recorder: Actor) -> None:
        self._pool = pool
        self._writing = writing
        self._recorder = recorder
        self.seal_lag = SealLag(pool)
        self._chain = ChainWriter(self._insert, self._opening, clock, uuid4)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, pool: Pool, writing: Pool, clock: Clock, recorder: Actor
    ) -> AsyncIterator["PostgresAuditLog"]:
        """Its writer ends with the block, as far as the database lets it."""
        log = cls(pool, writing, clock, recorder)
        try:
            yield log
        finally:
            await log.end()

    async def record(self, event: AuditEvent) -> Receipt:
        return _written(await self._chain.write(event)).receipt

    async def record_release(self, event: AuditEvent, *, with_sad: bool) -> Receipt:
        if event.merchant_id is None or event.token_id is None:
            raise ValueError("a release names its merchant and token")
        live = LiveToken(event.merchant_id, event.token_id.text, event.token_id.purge_day, with_sad)
        ends_at = asyncio.get_running_loop().time() + BOUND_SECONDS
        record = await self._chain.write(event, live)
        if record is None:
            record = await self._write_alone(event, live, ends_at)
        return record.receipt

    def take_back(self, event: AuditEvent, receipt: Receipt) -> None:
        self._chain.take_back(event, receipt)

    async def end(self) -> None:
        """The last record of this process, as far as the database takes it. Again is fine."""
        try:
            await self._chain.close(AuditEvent(EventKind.LOG_CLOSED, Outcome.DONE, self._recorder))
        except AuditUnavailableError:
            # A writer without an end is one that was given up; the next one begins by itself.
            pass

    async def check_writable(self) -> None:
        """Raises AuditUnavailableError unless this login may insert now, on a server that takes writes."""
        with _failures_named():
            # Each connection in its turn: one that is dead is replaced, before a record meets it and costs a writer.
            for _ in range(AUDIT_CONNECTIONS):
                async with bounded_connection_of(self._writing, BATCH_SECONDS) as connection:
                    cursor = await connection.execute(_COULD_INSERT)
                    if await cursor.fetchone() != (True,):
                        raise AuditUnavailableError
            if self._chain.is_failing:
                await self._insert_and_undo()
                self._chain.is_failing = False

    async def _insert_and_undo(self) -> None:
        """A full disk, or a lock on a partition, is met by whoever really inserts: so not while all is well."""
        async with (
            bounded_connection_of(self._writing, BATCH_SECONDS) as connection,
            connection.transaction(force_rollback=True),
        ):
            await connection.execute(_INSERT_NOTHING, (uuid4(),))

    async def _write_alone(self, event: AuditEvent, live: LiveToken, ends_at: float) -> Record:
        """Waits for whoever is changing the token, and keeps everybody from changing it until the record is written."""
        loop = asyncio.get_running_loop()
        written = []
        try:
            with _failures_named():
                async with (
                    bounded_connection_of(self._pool, ends_at - loop.time()) as connection,
                    connection.transaction(),
                ):
                    cursor = await connection.execute(
                        on_day(_LIVE_ALONE, live.purge_day), (live.merchant_id, live.token_id)
                    )
                    if await cursor.fetchone() not in _acceptable(live):
                        raise TokenChangedError
                    left = ends_at - loop.time()
                    written.append(_written(await self._chain.write(event, within=left)))
            return written.pop()
        finally:
            # Whether the token was kept from changing is not known of a transaction that did not end well.
            for record in written:
                self._chain.take_back(event, record.receipt)

    async def _opening(self) -> AuditEvent:
        """What the log was when this writer began: whoever takes its end away must explain this record."""
        with _failures_named():
            async with bounded_connection_of(self._writing, OPENING_SECONDS) as connection:
                row = await (await connection.execute(_LATEST_SEAL)).fetchone()
        tree_size, root = row or (0, b"")
        return AuditEvent(
            EventKind.LOG_OPENED,
            Outcome.DONE,
            self._recorder,
            details={"tree_size": tree_size, "root": root.hex()},
        )

    async def _insert(
        self, records: Sequence[Record], live: Sequence[LiveToken | None]
    ) -> Collection[int]:
        if (records[0].time + _MONTH_ENDS).month != records[0].time.month:
            await asyncio.sleep(_MONTH_ENDS.total_seconds())
        connection = None
        try:
            async with bounded_connection_of(self._writing, BATCH_SECONDS) as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute(*_statement(records, live), prepare=True)
                if any(live):
                    refused = {row[0] for row in await cursor.fetchall()}
                else:
                    refused = set() if cursor.rowcount else {_OUT_OF_TIME}
        except psycopg.Error as error:
            certain = connection is None or _took_it_back(error, connection)
            fault = error.sqlstate or type(error).__name__
        else:
            if _OUT_OF_TIME not in refused:
                if not refused:
                    self.seal_lag.wrote(records[-1].time)
                return refused
            certain, fault = True, "clocks differ"
        logger.warning("audit records refused", extra={"fault": fault})
        if connection is not None and connection.closed:
            # After a crash or a failover the other connection is as dead as this one, and would cost another writer.
            await self._writing.drain()
        raise NotWrittenError if certain else OutcomeUnknownError


def _took_it_back(error: psycopg.Error, connection: AsyncConnection) -> bool:
    """It said so, and goes on. What a pooler in between says of a server that it lost, says nothing."""
    state = error.sqlstate or ""
    undone = state[:2] in _UNDONE or state == _CANCELLED
    return undone and state not in _UNKNOWN and not connection.closed


def _statement(
    records: Sequence[Record], live: Sequence[LiveToken | None]
) -> tuple[bytes | LiteralString, tuple[object, ...]]:
    writer_id = records[0].writer_id
    time = records[0].time
    if not any(live):
        rows = [(record.sequence, record.text) for record in records]
        return _INSERT, (writer_id, *columns(_KINDS[:2], rows), time)
    days = tuple(sorted({token.purge_day for token in live if token is not None}))
    of_tokens = [
        (record.sequence, record.text, *(_condition(token)))
        for record, token in zip(records, live, strict=True)
    ]
    return _where_live(days), (time, *columns(_KINDS, of_tokens), writer_id)


def _condition(token: LiveToken | None) -> tuple[object, ...]:
    if token is None:
        return _NOTHING_LIVE
    return token.merchant_id, token.token_id, token.purge_day, token.with_sad


@lru_cache(maxsize=_STATEMENTS)
def _where_live(days: tuple[date, ...]) -> bytes:
    names = [SQL(f"live_{number}") for number in range(len(days))]
    of_days = SQL(", ").join(
        _LIVE_ON_DAY.format(name=name, day=Literal(day))
        for name, day in zip(names, days, strict=True)
    )
    any_day: Composed = SQL(" UNION ALL ").join(SQL("SELECT * FROM {}").format(n) for n in names)
    return _INSERT_WHERE_LIVE.format(
        in_time=SQL(_IN_TIME), of_days=of_days, any_day=any_day
    ).as_bytes()


def _acceptable(live: LiveToken) -> Collection[tuple[bool]]:
    return [(True,)] if live.with_sad else [(True,), (False,)]


def _written(record: Record | None) -> Record:
    if record is None:
        raise AuditUnavailableError
    return record


@contextmanager
def _failures_named() -> Iterator[None]:
    failed = False
    try:
        yield
    except (PaymentTokenError, psycopg.Error):
        failed = True
    if failed:
        raise AuditUnavailableError
