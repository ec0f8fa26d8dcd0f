"""How many payloads did not decrypt, by API key and KSN, in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.unbar_ksns import KSNPrefix
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_COUNT = """
INSERT INTO failed_attempts AS known (api_key_id, ksn, failures, last_at)
VALUES (%s, %s, 1, clock_timestamp())
    ON CONFLICT (api_key_id, ksn) DO UPDATE
   SET failures = known.failures + 1, last_at = clock_timestamp()
RETURNING failures
"""

_FORGET = """
DELETE FROM failed_attempts
 WHERE starts_with(ksn, %(ksn_prefix)s)
   AND (%(api_key_id)s::text IS NULL OR api_key_id = %(api_key_id)s)
RETURNING api_key_id, ksn
"""


class PostgresFailedAttempts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(self, attempt: AttemptName) -> int:
        """One more failure, committed. Returns how many there are."""
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(_COUNT, attempt)).fetchone()
            return int(row[0]) if row else 0

    @asynccontextmanager
    async def forgotten(
        self, ksn_prefix: KSNPrefix, api_key_id: str | None
    ) -> AsyncIterator[Sequence[AttemptName]]:
        chosen = {"ksn_prefix": ksn_prefix, "api_key_id": api_key_id}
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_FORGET, chosen)
            yield [AttemptName(*row) for row in await cursor.fetchall()]
