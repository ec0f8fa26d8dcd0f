"""The supply of permits of API keys with a rate, in PostgreSQL: a bucket as one moment (GCRA, as ATM Forum TM 4.1 has it).

``spent_until`` is the moment until which permits are given out. Each permit moves it by the time in which one becomes free; it
may be ahead of the clock by no more than a burst. Where it is behind, the bucket is full.
"""

from payment_token.domain.errors import (
    DatabaseUnavailableError,
    IdempotencyInProgressError,
    OverloadedError,
)
from payment_token.domain.permits import Rate
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.leased_permits import Lease

# From where this lease goes on: the clock, or further. Never by more than a burst, which happens when the clock was set back or the
# rate was another: a key does not wait longer for that than for its own burst.
_FROM = """
least(greatest(permits.spent_until, statement_timestamp()),
      statement_timestamp() + %(burst)s * interval '1 second' / %(rate)s)
"""

# What is left of the burst there, in whole permits. A microsecond of rounding does not take one away.
_FREE = f"""
greatest(0, least(%(wanted)s, floor(
    %(burst)s - %(rate)s * (extract(epoch FROM {_FROM} - statement_timestamp()) - 0.000001))))::integer
"""

_LEASE = f"""
INSERT INTO api_key_permits AS permits (key_id, spent_until, granted)
VALUES (%(key)s, statement_timestamp() + %(wanted)s * interval '1 second' / %(rate)s, %(wanted)s)
    ON CONFLICT (key_id) DO UPDATE
   SET spent_until = {_FROM} + {_FREE} * interval '1 second' / %(rate)s, granted = {_FREE}
RETURNING granted, extract(epoch FROM spent_until - statement_timestamp())::float8
"""


class PostgresPermitStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def lease(self, holder: str, rate: Rate, wanted: int) -> Lease:
        """Raises DatabaseUnavailableError, OverloadedError."""
        row = None
        parameters = {
            "key": holder,
            "rate": rate.per_second,
            "burst": rate.burst,
            "wanted": min(wanted, rate.burst),
        }
        is_locked = False
        try:
            async with connection_of(self._pool) as connection:
                cursor = await connection.execute(_LEASE.encode(), parameters)
                row = await cursor.fetchone()
        except IdempotencyInProgressError:
            is_locked = True
        if is_locked:
            raise OverloadedError
        if row is None:
            raise DatabaseUnavailableError
        granted, spent = row
        # The next one is free when so much is spent that a burst is one short.
        return Lease(granted, max(0.0, spent - (rate.burst - 1) / rate.per_second))
