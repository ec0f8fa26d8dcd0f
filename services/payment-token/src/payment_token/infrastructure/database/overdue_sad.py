"""SAD past its deadline, in PostgreSQL. The contract is :class:`payment_token.domain.end_overdue_sad.OverdueSADs`.

The index on deadlines holds only tokens that still have SAD: an hour's, however many tokens there are.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta

from psycopg import AsyncConnection

from payment_token.domain.end_overdue_sad import EndedSAD, OverdueSAD
from payment_token.infrastructure.database.maintaining_connection import maintaining_connection
from payment_token.infrastructure.database.partitions import on_day

_NAME = "payment-token overdue SAD"

# now() and not clock_timestamp(), which could not use the index.
_PURGE_DAYS = """
SELECT DISTINCT purge_day FROM payment_tokens
 WHERE sealed_sad IS NOT NULL AND sad_deadline <= now() ORDER BY purge_day
"""

_END = """
WITH overdue AS MATERIALIZED (
    SELECT merchant_id, token_id FROM payment_tokens
     WHERE purge_day = {day} AND sealed_sad IS NOT NULL AND sad_deadline <= now()
     ORDER BY sad_deadline LIMIT %s
       FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE payment_tokens SET sealed_sad = NULL, sad_destroyed_at = coalesce(sad_destroyed_at, clock_timestamp())
     WHERE purge_day = {day} AND (merchant_id, token_id) IN (SELECT * FROM overdue)
    RETURNING sad_deadline
)
SELECT count(*), coalesce(now() - min(sad_deadline), interval '0') FROM ended
"""


class PostgresOverdueSAD:
    """Connects anew for each run, as maintenance does."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[OverdueSAD | None]:
        async with maintaining_connection(self._url, _NAME) as connection:
            yield None if connection is None else _Overdue(connection)


class _Overdue:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def purge_days(self) -> Sequence[date]:
        cursor = await self._connection.execute(_PURGE_DAYS)
        return [day for (day,) in await cursor.fetchall()]

    async def end(self, purge_day: date, limit: int) -> EndedSAD:
        cursor = await self._connection.execute(on_day(_END, purge_day), (limit,))
        tokens, latest = await cursor.fetchone() or (0, timedelta(0))
        return EndedSAD(tokens, latest)
