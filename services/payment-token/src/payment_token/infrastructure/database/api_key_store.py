"""API keys in PostgreSQL."""

from collections.abc import Sequence

from psycopg.rows import DictRow, dict_row

from payment_token.domain.api_key import APIKey
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool


class PostgresAPIKeyStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key_id: str) -> APIKey | None:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute("SELECT * FROM api_keys WHERE key_id = %s", (key_id,))
            row = await cursor.fetchone()
        return None if row is None else _api_key(row)

    async def add(self, key: APIKey) -> None:
        async with connection_of(self._pool) as connection:
            await connection.execute(
                "INSERT INTO api_keys (key_id, name, merchants, secret_sha256) VALUES (%s, %s, %s, %s)",
                (key.key_id, key.name, list(key.merchants), key.secret_sha256),
            )

    async def list_all(self) -> Sequence[APIKey]:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute("SELECT * FROM api_keys ORDER BY created_at")
            return [_api_key(row) async for row in cursor]

    async def revoke(self, key_id: str) -> bool:
        """``False`` when there is no such key. Again is fine."""
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(
                "UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE key_id = %s",
                (key_id,),
            )
            return cursor.rowcount == 1


def _api_key(row: DictRow) -> APIKey:
    return APIKey(
        key_id=row["key_id"],
        name=row["name"],
        merchants=tuple(row["merchants"]),
        secret_sha256=row["secret_sha256"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
