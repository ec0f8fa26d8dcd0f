"""When API keys were last used, in PostgreSQL. Many processes say so of the same key, and one of them is enough."""

from collections.abc import Collection

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# A row that another process has at hand is left to it; one that is not a minute old stays as it is, so that
# a key is written once a minute however many say it. Rows are locked and made in
# the order of their ids, so that two processes never wait for each other crosswise.
_NOTE = """
WITH used AS (
    SELECT unnest(%(keys)s::text[]) AS key_id
), due AS (
    SELECT key_id FROM api_key_uses
     WHERE key_id IN (SELECT key_id FROM used) AND last_used_at <= clock_timestamp() - interval '1 minute'
     ORDER BY key_id FOR UPDATE SKIP LOCKED
), noted AS (
    UPDATE api_key_uses SET last_used_at = date_trunc('minute', clock_timestamp())
     WHERE key_id IN (SELECT key_id FROM due)
)
INSERT INTO api_key_uses (key_id, last_used_at)
SELECT key_id, date_trunc('minute', clock_timestamp()) FROM used
 WHERE key_id NOT IN (SELECT key_id FROM api_key_uses)
 ORDER BY key_id
    ON CONFLICT DO NOTHING
"""


class PostgresAPIKeyUses:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note(self, key_ids: Collection[str]) -> None:
        async with connection_of(self._pool) as connection:
            await connection.execute(_NOTE, {"keys": sorted(key_ids)})
