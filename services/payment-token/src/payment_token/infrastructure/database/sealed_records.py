"""Sealed PANs in batches, for re-encryption. The contract is :class:`payment_token.domain.key_life.ports.SealedRecords`.

One purge day after the other, so that a batch touches one partition, and a pass reads each only once.
"""

from collections.abc import Callable, Sequence
from datetime import date

from psycopg.rows import DictRow, dict_row

from payment_token.domain.identifiers import MerchantId
from payment_token.domain.key_life.ports import Batch, RecordPlace, SealedPAN
from payment_token.domain.ports import InactiveKeyError
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.key_versions import LET_IT_TAKE_ITS_TIME
from payment_token.infrastructure.database.partitions import PURGE_DAY_OF_NAME
from payment_token.infrastructure.database.pool import Pool

_COUNT = "SELECT count(*) FROM payment_tokens WHERE service_key <> %s AND sealed_pan IS NOT NULL"

# The same lock and check as of a create: the version stays active until this transaction ends.
_HOLD_VERSION = "SELECT holds_active_key('service', %s)"

# A partition whose file is empty never had a row: with long-lived tokens allowed, most days have none.
_DAYS = f"""
SELECT purge_day
  FROM (SELECT inhrelid, {PURGE_DAY_OF_NAME} AS purge_day
          FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = to_regclass('payment_tokens')) AS partitions
 WHERE purge_day >= %s AND pg_relation_size(inhrelid) > 0
 ORDER BY purge_day
"""

# Rows that another re-encryption has, or a release, are left for the next pass. Nobody waits for anybody here.
_NEXT = """
SELECT merchant_id, purge_day, token_id, expires_at, sealed_pan
  FROM payment_tokens
 WHERE purge_day = %(purge_day)s AND (merchant_id, token_id) > (%(merchant_id)s, %(token_id)s)
   AND service_key <> %(version)s AND sealed_pan IS NOT NULL
 ORDER BY merchant_id, token_id
 LIMIT %(limit)s
   FOR NO KEY UPDATE SKIP LOCKED
"""

_CHANGE = """
UPDATE payment_tokens AS token
   SET sealed_pan = new.sealed, service_key = %s
  FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::bytea[]) AS new (merchant_id, token_id, found, sealed)
 WHERE token.purge_day = %s AND token.merchant_id = new.merchant_id AND token.token_id = new.token_id
   AND token.sealed_pan = new.found
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
        for day in await self._days_from(after.token_id.purge_day if after else date.min):
            here = after if after and after.token_id.purge_day == day else None
            place = (here.merchant_id, here.token_id.text) if here else ("", "")
            batch = await self._change_on(day, version, place, limit, change)
            if batch.last is not None:
                return batch
        return Batch(None, changed=0, damaged=0)

    async def _days_from(self, first: date) -> Sequence[date]:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_DAYS, (first,))
            return [day for (day,) in await cursor.fetchall()]

    async def _change_on(
        self,
        day: date,
        version: str,
        place: tuple[str, str],
        limit: int,
        change: Callable[[SealedPAN], bytes | None],
    ) -> Batch:
        merchant_id, token_id = place
        async with connection_of(self._pool) as connection:
            await connection.execute(LET_IT_TAKE_ITS_TIME)
            active = await connection.execute(_HOLD_VERSION, (version,))
            if await active.fetchone() != (True,):
                raise InactiveKeyError
            cursor = connection.cursor(row_factory=dict_row)
            parameters = {
                "purge_day": day,
                "merchant_id": merchant_id,
                "token_id": token_id,
                "version": version,
                "limit": limit,
            }
            await cursor.execute(_NEXT, parameters)
            found = [_sealed_pan(row) for row in await cursor.fetchall()]
            changed = [(row, sealed) for row in found if (sealed := change(row)) is not None]
            done = 0
            if changed:
                done = (await connection.execute(_CHANGE, _columns(day, version, changed))).rowcount
        last = found[-1].place if found else None
        return Batch(last, changed=done, damaged=len(found) - len(changed))


def _columns(day: date, version: str, changed: list[tuple[SealedPAN, bytes]]) -> tuple[object, ...]:
    return (
        version,
        [row.place.merchant_id for row, _ in changed],
        [row.place.token_id.text for row, _ in changed],
        [row.sealed for row, _ in changed],
        [sealed for _, sealed in changed],
        day,
    )


def _sealed_pan(row: DictRow) -> SealedPAN:
    place = RecordPlace(MerchantId(row["merchant_id"]), TokenId(row["token_id"], row["purge_day"]))
    return SealedPAN(place, row["expires_at"], row["sealed_pan"])
