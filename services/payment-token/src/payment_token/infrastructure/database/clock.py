"""This process's estimate of the database's clock.

Time is the database's: expiry is decided by one clock, whatever the clocks of the service's machines say. Between two
readings the estimate runs on the monotonic clock, which nobody sets.
"""

import time
from datetime import UTC, datetime, timedelta

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

SYNC_INTERVAL_SECONDS = 5.0
READY_ERROR_SECONDS = 0.5

# How far two sound clocks drift apart at the worst; NTP's own bound is 500 parts in a million.
_DRIFT = 500e-6


class DatabaseClock:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reading: datetime | None = None
        self._read_at = 0.0
        self._reading_error = 0.0

    def now(self) -> datetime:
        """Raises DatabaseUnavailableError before the first reading, and while the estimate may be off by 500 ms."""
        if self._reading is None or self.error_seconds() > READY_ERROR_SECONDS:
            raise DatabaseUnavailableError(
                "The database's clock has not been read lately. Try again shortly."
            )
        return self._reading + timedelta(seconds=time.monotonic() - self._read_at)

    def error_seconds(self) -> float:
        """How far the estimate may be off: half the reading's round trip, and drift since."""
        if self._reading is None:
            return float("inf")
        return self._reading_error + (time.monotonic() - self._read_at) * _DRIFT

    async def synchronise(self) -> None:
        async with connection_of(self._pool) as connection:
            before = time.monotonic()
            cursor = await connection.execute("SELECT clock_timestamp()")
            row = await cursor.fetchone()
            after = time.monotonic()
        if row is None:
            raise DatabaseUnavailableError
        reading: datetime = row[0]
        self._reading = reading.astimezone(UTC)
        self._read_at = (before + after) / 2
        self._reading_error = (after - before) / 2
