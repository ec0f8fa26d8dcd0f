"""The partitions of ``payment_tokens``: one for each purge day, named after it."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import LiteralString

from psycopg.sql import SQL, Literal

from payment_token.domain.maintain import needed_purge_days
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# Nothing of the table itself is read or locked. A partition on its way out takes no rows any more.
_ATTACHED = """
SELECT (now() AT TIME ZONE 'UTC')::date,
       array(SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
              WHERE inhparent = to_regclass('payment_tokens') AND NOT inhdetachpending)
"""


# NULL for any other table, and not an error: PostgreSQL may look at the name before it looks at what the table is.
PURGE_DAY_OF_NAME: LiteralString = (
    r"to_date(substring(relname FROM '^payment_tokens_(\d{4}_\d\d_\d\d)$'), 'YYYY_MM_DD')"
)


# Most tokens live for a day or two; statements on other days are made anew now and then.
_DAYS = 64


def partition_name(purge_day: date) -> str:
    return f"payment_tokens_{purge_day:%Y_%m_%d}"


@lru_cache(maxsize=_DAYS)
def on_day(statement: LiteralString, day: date) -> bytes:
    """The statement with its ``{day}``. A plan that is made for every day would lock each partition that there is."""
    return SQL(statement).format(day=Literal(day)).as_bytes()


class PostgresPartitions:
    """Whether there is a place for every token that may be made now."""

    def __init__(self, pool: Pool, max_ttl: timedelta) -> None:
        self._pool = pool
        self._max_ttl = max_ttl

    async def missing(self) -> Sequence[date]:
        """The purge days without a partition, up to the one of the longest life that a token may have."""
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(_ATTACHED)).fetchone()
        today, attached = row or (date.max, [])
        days = needed_purge_days(today, self._max_ttl)
        return [day for day in days if partition_name(day) not in attached]
