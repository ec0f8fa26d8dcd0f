"""How long the records of this process have waited for a seal. Until they have one, whoever owns the database could hide them."""

from datetime import datetime

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_LATEST_SEAL = """
SELECT clock_timestamp(), (SELECT sealed_at FROM audit_seals ORDER BY tree_size DESC LIMIT 1)
"""


class SealLag:
    """Which records a seal covers only a reader of the log knows; a writer goes by the times."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting_since: datetime | None = None
        self._last_written: datetime | None = None

    def wrote(self, at: datetime) -> None:
        self._last_written = at
        if self._waiting_since is None:
            self._waiting_since = at

    async def seconds(self) -> float:
        """0 when nothing waits. Raises DatabaseUnavailableError."""
        if self._waiting_since is None or self._last_written is None:
            return 0.0
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(_LATEST_SEAL)).fetchone()
        now, sealed_at = row or (self._last_written, None)
        if sealed_at is not None and sealed_at >= self._last_written:
            self._waiting_since = None
            return 0.0
        if sealed_at is not None:
            self._waiting_since = max(self._waiting_since, sealed_at)
        return float((now - self._waiting_since).total_seconds())
