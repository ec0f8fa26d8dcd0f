"""API keys in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from payment_token.domain.api_key import APIKey, KeyReading, Scope
from payment_token.domain.change_api_keys import APIKeyRefusedError
from payment_token.domain.errors import DatabaseUnavailableError, IdempotencyInProgressError
from payment_token.domain.permits import Rate
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# The clock is read once the lock is there: whoever had it may have taken a while.
_FIND = "SELECT *, clock_timestamp() AS read_at FROM api_keys WHERE key_id = %s"
_HOLD = "SELECT FROM api_keys WHERE key_id = %s FOR UPDATE"

_ADD = """
INSERT INTO api_keys (key_id, name, merchants, secret_sha256, scopes, expires_at, rate_per_second, rate_burst)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""

_LIST = """
SELECT *, clock_timestamp() AS read_at FROM api_keys LEFT JOIN api_key_uses USING (key_id) ORDER BY created_at, key_id
"""


class PostgresAPIKeyStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key_id: str) -> KeyReading | None:
        async with connection_of(self._pool) as connection:
            return await _found(connection, key_id)

    async def now(self) -> datetime:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute("SELECT clock_timestamp()")
            row = await cursor.fetchone()
        if row is None:
            raise DatabaseUnavailableError
        now: datetime = row[0]
        return now

    async def add(self, key: APIKey) -> None:
        async with connection_of(self._pool) as connection:
            await _add(connection, key)

    async def list_all(self) -> Sequence[KeyReading]:
        """The oldest first, each with its last use."""
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_LIST)
            return [_reading(row) async for row in cursor]

    @asynccontextmanager
    async def held(self, key_id: str) -> AsyncIterator["HeldAPIKey | None"]:
        """``None`` when there is no such key. Raises APIKeyRefusedError when somebody else has it for too long."""
        is_locked = False
        try:
            async with connection_of(self._pool) as connection:
                await connection.execute(_HOLD, (key_id,))
                reading = await _found(connection, key_id)
                yield None if reading is None else HeldAPIKey(connection, reading)
        except IdempotencyInProgressError:
            is_locked = True
        if is_locked:
            raise APIKeyRefusedError(
                f"Somebody else is changing API key {key_id} just now. Look at `api-keys list`, and try again."
            )


class HeldAPIKey:
    """A row that this transaction has locked."""

    def __init__(self, connection: AsyncConnection, reading: KeyReading) -> None:
        self._connection = connection
        self.reading = reading

    async def revoke(self) -> None:
        await self._connection.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE key_id = %s",
            (self.reading.key.key_id,),
        )

    async def expire_at(self, at: datetime) -> None:
        await self._connection.execute(
            "UPDATE api_keys SET expires_at = least(expires_at, %s) WHERE key_id = %s",
            (at, self.reading.key.key_id),
        )

    async def replace_by(self, successor: APIKey, until: datetime) -> None:
        await _add(self._connection, successor)
        await self._connection.execute(
            "UPDATE api_keys SET expires_at = least(expires_at, %s), replaced_by = %s WHERE key_id = %s",
            (until, successor.key_id, self.reading.key.key_id),
        )


async def _found(connection: AsyncConnection, key_id: str) -> KeyReading | None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(_FIND, (key_id,))
    row = await cursor.fetchone()
    return None if row is None else _reading(row)


async def _add(connection: AsyncConnection, key: APIKey) -> None:
    per_second, burst = (None, None) if key.rate is None else (key.rate.per_second, key.rate.burst)
    await connection.execute(
        _ADD,
        (
            key.key_id,
            key.name,
            list(key.merchants),
            key.secret_sha256,
            sorted(key.scopes),
            key.expires_at,
            per_second,
            burst,
        ),
    )


def _reading(row: DictRow) -> KeyReading:
    per_second = row["rate_per_second"]
    key = APIKey(
        key_id=row["key_id"],
        name=row["name"],
        merchants=tuple(row["merchants"]),
        secret_sha256=row["secret_sha256"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        scopes=frozenset(map(Scope, row["scopes"])),
        expires_at=row["expires_at"],
        rate=None if per_second is None else Rate(per_second, row["rate_burst"]),
        replaced_by=row["replaced_by"],
        last_used_at=row.get("last_used_at"),
    )
    return KeyReading(key, row["read_at"])
