"""Sealed PANs in batches, for re-encryption. The contract is :class:`payment_token.domain.key_life.ports.SealedRecords`."""

from collections.abc import Callable

from psycopg.rows import DictRow, dict_row

from payment_token.domain.identifiers import MerchantId
from payment_token.domain.key_life.ports import Batch, RecordPlace, SealedPAN
from payment_token.domain.ports import InactiveKeyError
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.key_versions import LET_IT_TAKE_ITS_TIME
from payment_token.infrastructure.database.pool import Pool

_COUNT = "SELECT count(*) FROM payment_tokens WHERE service_key <> %s AND sealed_pan IS NOT NULL"

# The same lock and check as a create: the version stays active until this transaction ends.
_LOCK_VERSION = "SELECT pg_advisory_xact_lock_shared(hashtextextended('service-key:' || %s, 0))"

_IS_ACTIVE = (
    "SELECT FROM encryption_keys WHERE purpose = 'service' AND version = %s AND state = 'active'"
)

# Rows that another re-encryption has, or a release, are left for the next pass. Nobody waits for anybody here.
_NEXT = """
SELECT merchant_id, purge_day, token_id, expires_at, sealed_pan
  FROM payment_tokens
 WHERE (merchant_id, purge_day, token_id) > (%(merchant_id)s, %(purge_day)s, %(token_id)s)
   AND service_key <> %(version)s AND sealed_pan IS NOT NULL
 ORDER BY merchant_id, purge_day, token_id
 LIMIT %(limit)s
   FOR NO KEY UPDATE SKIP LOCKED
"""

_CHANGE = """
UPDATE payment_tokens AS token
   SET sealed_pan = new.sealed, service_key = %s
  FROM unnest(%s::text[], %s::date[], %s::text[], %s::bytea[], %s::bytea[])
       AS new (merchant_id, purge_day, token_id, found, sealed)
 WHERE token.merchant_id = new.merchant_id AND token.purge_day = new.purge_day
   AND token.token_id = new.token_id AND token.sealed_pan = new.found
"""


class PostgresSealedRecords:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count_not_under(self, version: str) -> int:
        async with connection_of(self._pool) as connection:
            await connection.execute(LET_IT_TAKE_ITS_TIME)
            cursor = await connection.execute(_COUNT, (version,))
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def change_batch(
        self,
        version: str,
        after: RecordPlace | None,
        limit: int,
        change: Callable[[SealedPAN], bytes | None],
    ) -> Batch:
        async with connection_of(self._pool) as connection:
            await connection.execute(LET_IT_TAKE_ITS_TIME)
            await connection.execute(_LOCK_VERSION, (version,))
            active = await connection.execute(_IS_ACTIVE, (version,))
            if active.rowcount == 0:
                raise InactiveKeyError
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_NEXT, _parameters(version, after, limit))
            found = [_sealed_pan(row) for row in await cursor.fetchall()]
            changed = [(row, sealed) for row in found if (sealed := change(row)) is not None]
            done = 0
            if changed:
                done = (await connection.execute(_CHANGE, _columns(version, changed))).rowcount
        last = found[-1].place if found else None
        return Batch(last, changed=done, damaged=len(found) - len(changed))


def _parameters(version: str, after: RecordPlace | None, limit: int) -> dict[str, object]:
    return {
        "version": version,
        "limit": limit,
        "merchant_id": after.merchant_id if after else "",
        "purge_day": after.token_id.purge_day if after else "0001-01-01",
        "token_id": after.token_id.text if after else "",
    }


def _columns(version: str, changed: list[tuple[SealedPAN, bytes]]) -> tuple[object, ...]:
    return (
        version,
        [row.place.merchant_id for row, _ in changed],
        [row.place.token_id.purge_day for row, _ in changed],
        [row.place.token_id.text for row, _ in changed],
        [row.sealed for row, _ in changed],
        [sealed for _, sealed in changed],
    )


def _sealed_pan(row: DictRow) -> SealedPAN:
    place = RecordPlace(MerchantId(row["merchant_id"]), TokenId(row["token_id"], row["purge_day"]))
    return SealedPAN(place, row["expires_at"], row["sealed_pan"])
