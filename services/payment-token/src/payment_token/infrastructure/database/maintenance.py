"""Maintenance on PostgreSQL. The contract is :class:`payment_token.domain.maintain.Maintenance`.

Nothing here takes a lock that requests queue behind: a partition is made as a table of its own and then attached, and
detached concurrently before it is dropped (SHARE UPDATE EXCLUSIVE on ``payment_tokens``). CREATE … PARTITION OF and DROP
alone would take ACCESS EXCLUSIVE on it: behind one long reader, every request would wait.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta

from psycopg import AsyncConnection, sql
from psycopg.errors import (
    DuplicateTable,
    InvalidObjectDefinition,
)
from psycopg.rows import class_row

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.maintain import (
    KeyBatch,
    MaintainedTables,
    MaintenanceError,
    Partition,
)
from payment_token.infrastructure.database.lock_patience import patiently
from payment_token.infrastructure.database.maintaining_connection import maintaining_connection
from payment_token.infrastructure.database.partition_removal import remove_partition
from payment_token.infrastructure.database.partition_storage import TOKEN_PARTITION_STORAGE
from payment_token.infrastructure.database.partitions import (
    PURGE_DAY_OF_NAME,
    partition_name,
)

logger = logging.getLogger(__name__)

_NAME = "payment-token maintenance"

# Tables that were partitions, and are due, were left behind between detaching and dropping.
_PARTITIONS = f"""
SELECT purge_day, greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint AS about_tokens
  FROM (SELECT *, {PURGE_DAY_OF_NAME} AS purge_day
          FROM pg_class
         WHERE relkind = 'r'
           AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('payment_tokens'))) AS named
 WHERE purge_day IS NOT NULL AND (relispartition OR purge_day <= %s)
 ORDER BY purge_day
"""

_MAKE = sql.SQL("CREATE TABLE {name} (LIKE payment_tokens INCLUDING ALL) WITH ({storage})")

_ATTACH = sql.SQL(
    "ALTER TABLE payment_tokens ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({next_day})"
)

_MAKE_AUDIT_MONTHS = """
SELECT count(*) FILTER (WHERE make_audit_partition(
           (date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + make_interval(months => number))::date))
  FROM generate_series(0, %s) AS number
"""

# now() and not clock_timestamp(), which could not use the index. ``since`` steps over what the batches before have left
# dead in it. A claim that is being taken over is locked, and stays.
_DELETE_KEYS = """
WITH deleted AS (
    DELETE FROM token_idempotency_keys
     WHERE ctid = ANY (ARRAY(
           SELECT ctid FROM token_idempotency_keys
            WHERE expires_at >= coalesce(%s, '-infinity'::timestamptz) AND expires_at <= now()
            ORDER BY expires_at LIMIT %s
              FOR UPDATE SKIP LOCKED))
    RETURNING expires_at
)
SELECT count(*), max(expires_at) FROM deleted
"""

# An hour later than they end: should the clock be set back by less, no window begins anew.
_OLD_WINDOWS = "window_end <= now() - interval '1 hour'"

_DELETE_USES = f"""
WITH old AS MATERIALIZED (
    SELECT identity, window_start FROM worker_limit_windows
     WHERE kind = 'tokens' AND {_OLD_WINDOWS} ORDER BY window_end LIMIT 100
)
DELETE FROM worker_token_uses
 WHERE ctid = ANY (ARRAY(
       SELECT uses.ctid
         FROM old CROSS JOIN LATERAL (
              SELECT ctid FROM worker_token_uses
               WHERE identity = old.identity AND window_start = old.window_start LIMIT %(limit)s) AS uses
        LIMIT %(limit)s))
"""

# By then its terminal has moved on.
_DELETE_ATTEMPTS = """
DELETE FROM failed_attempts
 WHERE (api_key_id, ksn) IN (SELECT api_key_id, ksn FROM failed_attempts
                              WHERE last_at < clock_timestamp() - interval '30 days' LIMIT %s)
"""

_DELETE_WINDOWS = f"""
DELETE FROM worker_limit_windows
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM worker_limit_windows AS old
        WHERE {_OLD_WINDOWS}
          AND NOT EXISTS (SELECT FROM worker_token_uses AS uses
                           WHERE old.kind = 'tokens' AND uses.identity = old.identity
                             AND uses.window_start = old.window_start)
        ORDER BY window_end LIMIT %s))
"""

# What is so old is not counted up any more, and nobody else deletes it: no row has to be locked before. The minute stands
# first in an index.
_DELETE_EVENTS = """
DELETE FROM device_events
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM device_events WHERE minute <= now() - %s ORDER BY minute LIMIT %s))
"""

# An hour later than the longest time that a rule looks back.
_DELETE_FAILURES = """
DELETE FROM device_failures
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM device_failures WHERE second <= now() - interval '25 hours' ORDER BY second LIMIT %s))
"""


class PostgresMaintenance:
    """Connects anew for each run."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[MaintainedTables | None]:
        async with maintaining_connection(self._url, _NAME) as connection:
            yield None if connection is None else _Tables(connection)


class _Tables:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def today(self) -> date:
        cursor = await self._connection.execute(
            "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date"
        )
        row = await cursor.fetchone()
        if row is None:
            raise DatabaseUnavailableError
        day: date = row[0]
        return day

    async def partitions(self, today: date) -> Sequence[Partition]:
        cursor = self._connection.cursor(row_factory=class_row(Partition))
        await cursor.execute(_PARTITIONS, (today,))
        return await cursor.fetchall()

    async def make_partition(self, purge_day: date) -> None:
        name = sql.Identifier(partition_name(purge_day))
        days = {
            "day": sql.Literal(purge_day),
            "next_day": sql.Literal(purge_day + timedelta(days=1)),
        }

        async def make() -> bool:
            async with self._connection.transaction():
                await self._connection.execute(_MAKE.format(name=name, storage=_storage()))
                await self._connection.execute(_ATTACH.format(name=name, **days))
            return True

        taken = False
        try:
            await patiently(make)
        except (DuplicateTable, InvalidObjectDefinition):
            taken = True
        if taken:
            raise MaintenanceError(
                f"Another table or partition has the place of {partition_name(purge_day)}: move it away."
            )
        logger.info("partition made", extra={"purge_day": str(purge_day)})

    async def make_audit_months(self, ahead: int) -> int:
        made = 0

        async def make() -> bool:
            nonlocal made
            cursor = await self._connection.execute(_MAKE_AUDIT_MONTHS, (ahead,))
            (made,) = await cursor.fetchone() or (0,)
            return True

        await patiently(make)
        if made:
            logger.info("partitions of the audit log made", extra={"months": made})
        return made

    async def drop_partition(self, purge_day: date) -> None:
        await remove_partition(self._connection, "payment_tokens", partition_name(purge_day))
        logger.info("partition dropped", extra={"purge_day": str(purge_day)})

    async def delete_expired_keys(self, since: datetime | None, limit: int) -> KeyBatch:
        cursor = await self._connection.execute(_DELETE_KEYS, (since, limit))
        deleted, last = await cursor.fetchone() or (0, None)
        return KeyBatch(deleted, last)

    async def delete_old_uses(self, limit: int) -> int:
        return (await self._connection.execute(_DELETE_USES, {"limit": limit})).rowcount

    async def delete_old_windows(self, limit: int) -> int:
        return (await self._connection.execute(_DELETE_WINDOWS, (limit,))).rowcount

    async def delete_old_attempts(self, limit: int) -> int:
        return (await self._connection.execute(_DELETE_ATTEMPTS, (limit,))).rowcount

    async def delete_old_events(self, kept: timedelta, limit: int) -> int:
        return (await self._connection.execute(_DELETE_EVENTS, (kept, limit))).rowcount

    async def delete_old_failures(self, limit: int) -> int:
        return (await self._connection.execute(_DELETE_FAILURES, (limit,))).rowcount


def _storage() -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.SQL(value))
        for name, value in TOKEN_PARTITION_STORAGE.items()
    )
