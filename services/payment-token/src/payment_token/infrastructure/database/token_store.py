"""Tokens and idempotency claims in PostgreSQL. The contract is :class:`payment_token.domain.ports.TokenStore`.

Correctness rests on unique constraints and row locks under READ COMMITTED. What arrives together is read and written
together (:mod:`group_commit`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from psycopg import AsyncConnection

from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.errors import IdempotencyInProgressError, OverloadedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.token import Claim, NewToken, SADEnd, StoredToken
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.columns import text_column
from payment_token.infrastructure.database.faults import batch_connection_of, connection_of
from payment_token.infrastructure.database.group_commit import GroupCommit
from payment_token.infrastructure.database.partitions import on_day
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.database.token_creation import TokenCreation
from payment_token.infrastructure.database.token_rows import STORED, stored_token

# How long a request waits for another one that holds its idempotency key.
_WAIT_SECONDS = 2.0

# For tokens of one purge day, which lie in one partition. The day stands in the text, so that the plan knows it. LIMIT has each
# looked up in the index: joined, a partition of some thousand tokens would be read as a whole.
_GET = f"""
SELECT {STORED}
  FROM unnest(%b::text[], %b::text[]) AS asked (merchant, token)
 CROSS JOIN LATERAL (
       SELECT * FROM payment_tokens
        WHERE purge_day = {{day}} AND merchant_id = asked.merchant AND token_id = asked.token LIMIT 1) AS found
"""

_REVOKE = """
UPDATE payment_tokens
   SET status = 'revoked', revoked_at = coalesce(revoked_at, clock_timestamp()), sealed_pan = NULL,
       sealed_sad = NULL,
       sad_destroyed_at = CASE WHEN sad_deadline IS NOT NULL
                               THEN coalesce(sad_destroyed_at, clock_timestamp()) END
 WHERE merchant_id = %s AND purge_day = %s AND token_id = %s
"""

# Whichever epoch key of that minute sealed the SAD is dead by then. Where they are gone from their table, by their time or
# by a crash, it is said when the longest epoch and the longest life of SAD have passed.
_END_SAD = """
UPDATE payment_tokens
   SET sealed_sad = NULL,
       sad_destroyed_at = coalesce(sad_destroyed_at, clock_timestamp()),
       sad_unrecoverable_from = coalesce(
           sad_unrecoverable_from,
           (SELECT max(dies_at) FROM sad_epoch_keys
             WHERE starts_at <= created_at + interval '1 minute' AND ends_at >= created_at - interval '1 minute'),
           created_at + interval '48 hours 1 minute')
 WHERE purge_day = {day} AND merchant_id = %s AND token_id = %s AND sad_deadline IS NOT NULL
RETURNING sad_destroyed_at, sad_unrecoverable_from
"""


@dataclass(frozen=True, slots=True)
class _TokenName:
    merchant_id: MerchantId
    token_id: TokenId


_ClaimName = tuple[MerchantId, str]


class PostgresTokenStore:
    """For one event loop."""

    def __init__(self, pool: Pool, batches: Pool, idempotency_window: timedelta) -> None:
        self._pool = pool
        self._batches = batches
        creation = TokenCreation(pool, batches, idempotency_window)
        self._create = GroupCommit(creation.together, creation.alone)
        # The creates that are on their way, and what those who wait for one wait for, if any do.
        self._creating: dict[_ClaimName, asyncio.Future[Claim | None] | None] = {}
        self._get = GroupCommit(self._get_many, self._get_one)

    async def create(self, new: NewToken) -> Claim | CounterVerdict:
        name = (new.stored.token.merchant_id, new.idempotency_key)
        # One at a time under one key, in this process here, among processes by the unique constraint.
        while name in self._creating:
            held = await _outcome_of(self._end_of(name))
            if held is not None:
                return held
        self._creating[name] = None
        # What those who wait hear unless it comes to an end here: nothing is held, the next one may try.
        claim = None
        try:
            found = await self._create(new)
            claim = found if isinstance(found, Claim) else new.claim
            return found
        finally:
            waited_for = self._creating.pop(name)
            if waited_for is not None:
                waited_for.set_result(claim)

    def _end_of(self, name: _ClaimName) -> "asyncio.Future[Claim | None]":
        end = self._creating[name]
        if end is None:
            end = self._creating[name] = asyncio.get_running_loop().create_future()
        return end

    async def get(self, merchant_id: MerchantId, token_id: TokenId) -> StoredToken | None:
        return await self._get(_TokenName(merchant_id, token_id))

    async def revoke(self, merchant_id: MerchantId, token_id: TokenId) -> bool:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(
                _REVOKE, (merchant_id, token_id.purge_day, token_id.text)
            )
            return cursor.rowcount == 1

    async def end_sad(
        self,
        merchant_id: MerchantId,
        token_id: TokenId,
        record: Callable[[], Awaitable[None]],
    ) -> SADEnd | None:
        row, is_held = None, False
        try:
            # The lock of the row keeps releases out until the end of the transaction.
            async with connection_of(self._pool) as connection:
                cursor = await connection.execute(
                    on_day(_END_SAD, token_id.purge_day), (merchant_id, token_id.text)
                )
                row = await cursor.fetchone()
                if row is not None:
                    await record()
        except IdempotencyInProgressError:
            is_held = True
        if is_held:
            raise OverloadedError
        return None if row is None else SADEnd(*row)

    async def _get_many(self, names: Sequence[_TokenName]) -> Sequence[StoredToken | None]:
        async with batch_connection_of(self._batches) as connection:
            return await _read(connection, names)

    async def _get_one(self, name: _TokenName) -> StoredToken | None:
        async with connection_of(self._pool) as connection:
            return (await _read(connection, [name]))[0]


async def _read(
    connection: AsyncConnection, names: Sequence[_TokenName]
) -> Sequence[StoredToken | None]:
    by_day = defaultdict(list)
    for name in names:
        by_day[name.token_id.purge_day].append(name)
    found = {}
    cursor = connection.cursor(binary=True)
    for day, of_day in by_day.items():
        merchants = text_column(name.merchant_id for name in of_day)
        tokens = text_column(name.token_id.text for name in of_day)
        await cursor.execute(on_day(_GET, day), (merchants, tokens), prepare=True)
        for row in await cursor.fetchall():
            stored = stored_token(row)
            found[_TokenName(stored.token.merchant_id, stored.token.token_id)] = stored
    return [found.get(name) for name in names]


async def _outcome_of(ahead: "asyncio.Future[Claim | None]") -> Claim | None:
    # Not ``wait_for``: others wait for the same outcome, and none of them may cancel it.
    await asyncio.wait({ahead}, timeout=_WAIT_SECONDS)
    if not ahead.done():
        raise IdempotencyInProgressError
    return ahead.result()
