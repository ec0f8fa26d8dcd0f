"""The sealed log in PostgreSQL, read in the order of its leaves. The contract is :mod:`payment_token.domain.audit_archive.ports`.

Reads through cursors of the server, so that memory does not grow with the log.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection

from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.ports import MonthInDatabase, Writer
from payment_token.domain.audit_archive.sealed_log import Entry, Run, Seal, SealedSeal
from payment_token.domain.errors import DatabaseUnavailableError

logger = logging.getLogger(__name__)

_SESSION = "-c timezone=UTC -c statement_timeout=15min"
_ROWS_AT_ONCE = 2_000

_SEAL = """
SELECT first_index, tree_size, root, sealed_at, writer_ids, first_sequences, last_sequences, checkpoint, signing_key
  FROM audit_seals
"""

# The sealer takes no record that is older than the last seal by more than an hour, so the months are known that the
# records of a seal can be of; without them, every partition would be looked into.
_BEFORE_SEAL = (
    "SELECT sealed_at FROM audit_seals WHERE tree_size <= %s ORDER BY tree_size DESC LIMIT 1"
)
_BACKDATED = timedelta(hours=1)
_CLOCK_CHANGES = timedelta(days=1)

_ENTRIES = """
SELECT logged.writer_id, logged.sequence, logged.recorded_at, logged.record
  FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS run (writer_id, first, last, number)
  JOIN decrypt_audit_log AS logged
    ON logged.writer_id = run.writer_id AND logged.sequence BETWEEN run.first AND run.last
   AND logged.month BETWEEN %s AND %s
 ORDER BY run.number, logged.sequence
"""

# The last record of each writer in a month, by one look at the index for each.
_LAST_OF_WRITERS = """
WITH RECURSIVE last_of AS (
    (SELECT writer_id, sequence FROM decrypt_audit_log WHERE month = %(month)s
      ORDER BY writer_id DESC, sequence DESC LIMIT 1)
    UNION ALL
    SELECT earlier.*
      FROM last_of, LATERAL (
           SELECT writer_id, sequence FROM decrypt_audit_log
            WHERE month = %(month)s AND writer_id < last_of.writer_id
            ORDER BY writer_id DESC, sequence DESC LIMIT 1) AS earlier
)
"""

_LAST_SEAL_OF_MONTH = f"""
{_LAST_OF_WRITERS}
SELECT max(tree_size)
  FROM audit_seals, LATERAL unnest(writer_ids, first_sequences, last_sequences) AS run (writer_id, first, last)
  JOIN last_of ON last_of.writer_id = run.writer_id AND sequence BETWEEN first AND last
 WHERE tree_size > %(after)s
"""

_UNSEALED = f"""
{_LAST_OF_WRITERS}
SELECT last_of.writer_id, sequence - coalesce(sealed_sequence, -1),
       (SELECT record::jsonb ->> 'identity' FROM decrypt_audit_log AS opened
         WHERE opened.writer_id = last_of.writer_id AND opened.sequence = 0 LIMIT 1)
  FROM last_of LEFT JOIN audit_chains USING (writer_id)
 WHERE sealed_sequence IS NULL OR sealed_sequence < sequence
 ORDER BY last_of.writer_id
"""


_PUBLIC_KEYS = """
SELECT public_key FROM encryption_keys WHERE purpose = 'audit-signing' AND public_key IS NOT NULL
 ORDER BY created_at, version
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection for work that takes its time. Raises DatabaseUnavailableError for whatever the database does wrong."""
    fault = None
    try:
        async with await AsyncConnection.connect(
            url,
            autocommit=True,
            options=_SESSION,
            connect_timeout=5,
            application_name="payment-token audit",
        ) as connection:
            yield connection
    except psycopg.Error as error:
        fault = error.sqlstate or "connection"
    if fault is not None:
        logger.warning("database error in the archive", extra={"sqlstate": fault})
        raise DatabaseUnavailableError


class PostgresSealedLog:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def now(self) -> datetime:
        (time,) = await self._one("SELECT clock_timestamp()")
        found: datetime = time
        return found

    async def newest(self) -> SealedSeal | None:
        return _sealed(await self._one(f"{_SEAL} ORDER BY tree_size DESC LIMIT 1"))

    async def seal_at(self, tree_size: int) -> SealedSeal | None:
        return _sealed(await self._one(f"{_SEAL} WHERE tree_size = %s", tree_size))

    async def seals(self, after: int, up_to: int) -> AsyncIterator[SealedSeal]:
        last = after
        while last < up_to:
            cursor = await self._connection.execute(
                f"{_SEAL} WHERE tree_size > %s AND tree_size <= %s ORDER BY tree_size LIMIT %s",
                (last, up_to, _ROWS_AT_ONCE),
            )
            rows = await cursor.fetchall()
            for row in rows:
                sealed = _sealed(row)
                if sealed is not None:
                    last = sealed.seal.tree_size
                    yield sealed
            if not rows:
                return

    async def entries(self, seals: Sequence[Seal]) -> AsyncGenerator[Entry]:
        if not seals:
            return
        first, last = await self._months(seals)
        runs = [run for seal in seals for run in seal.runs]
        columns = (
            [run.writer_id for run in runs],
            [run.first for run in runs],
            [run.last for run in runs],
        )
        async with (
            self._connection.transaction(),
            self._connection.cursor(name="entries") as cursor,
        ):
            cursor.itersize = _ROWS_AT_ONCE
            await cursor.execute(_ENTRIES, (*columns, first, last))
            async for writer_id, sequence, recorded_at, record in cursor:
                yield Entry(writer_id, sequence, recorded_at, record.encode())

    async def public_keys(self) -> Sequence[bytes]:
        cursor = await self._connection.execute(_PUBLIC_KEYS)
        return [public_key for (public_key,) in await cursor.fetchall()]

    async def month(self, month: Month, after: int) -> MonthInDatabase:
        parameters = {"month": month.first_day, "after": after}
        (last_size,) = await self._one(_LAST_SEAL_OF_MONTH, parameters)
        cursor = await self._connection.execute(_UNSEALED, parameters)
        writers = [
            Writer(writer_id, records, recorder or "its first record is missing")
            for writer_id, records, recorder in await cursor.fetchall()
        ]
        return MonthInDatabase(last_size, writers)

    async def _months(self, seals: Sequence[Seal]) -> tuple[date, date]:
        before = await self._one(_BEFORE_SEAL, seals[0].first_index)
        latest = max(seal.sealed_at for seal in seals)
        last = Month.of(latest + _CLOCK_CHANGES).first_day
        return (Month.of(before[0] - _BACKDATED).first_day if before else date.min), last

    async def _one(self, query: str, parameters: Any = ()) -> Any:
        if not isinstance(parameters, dict | tuple):
            parameters = (parameters,)
        return await (await self._connection.execute(query, parameters)).fetchone()


def _sealed(row: tuple[Any, ...] | None) -> SealedSeal | None:
    if row is None:
        return None
    first_index, tree_size, root, sealed_at, writer_ids, firsts, lasts, checkpoint, key = row
    runs = [Run(*run) for run in zip(writer_ids, firsts, lasts, strict=True)]
    return SealedSeal(
        Seal(first_index, tree_size, sealed_at.astimezone(UTC), runs), root, checkpoint, key
    )
