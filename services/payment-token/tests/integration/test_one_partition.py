"""Whatever a request does, it locks one partition of payment_tokens, however often its statements were executed.

PostgreSQL 14 to 18 lock every partition of a plan that covers them all, at every execution.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.token import Token
from tests.support.audit_logs import audit_log_of
from tests.support.key_deployment import KeyDeployment, key_deployment
from tests.support.maintained import MaintainedDatabase, maintained_database
from tests.support.tokens import new_token, release_of

# PostgreSQL plans for any value at the sixth execution, psycopg prepares at the sixth as well.
_TIMES = 15

_LOCKED = """
SELECT count(DISTINCT relation) FROM pg_locks JOIN pg_inherits ON inhrelid = relation
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND inhparent = 'payment_tokens'::regclass
"""


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many partitions each transaction holds a lock on as it commits."""
    counts: list[int] = []
    connection_of_pool = AsyncConnectionPool.connection

    @asynccontextmanager
    async def counted(
        pool: AsyncConnectionPool, **options: float
    ) -> AsyncIterator[AsyncConnection]:
        async with connection_of_pool(pool, **options) as connection, connection.transaction():
            yield connection
            cursor = await connection.execute(_LOCKED, prepare=False)
            counts.extend(count for (count,) in await cursor.fetchall())

    monkeypatch.setattr(AsyncConnectionPool, "connection", counted)
    return counts


async def _create(kept: MaintainedDatabase) -> Token:
    new = new_token(datetime.now(UTC))
    assert await kept.store.create(new) is CounterVerdict.FRESH
    return new.stored.token


async def _get(kept: MaintainedDatabase) -> None:
    token = await _create(kept)
    assert await kept.store.get(token.merchant_id, token.token_id) is not None


async def _revoke(kept: MaintainedDatabase) -> None:
    token = await _create(kept)
    assert await kept.store.revoke(token.merchant_id, token.token_id)


async def _release(kept: MaintainedDatabase) -> None:
    token = await _create(kept)
    async with audit_log_of(kept.url, kept.pool) as log:
        await log.record_release(release_of(token), with_sad=True)


@pytest.mark.parametrize("request_work", [_create, _get, _revoke, _release])
async def test_a_request_locks_one_partition(
    database_url: str,
    locked: list[int],
    request_work: Callable[[MaintainedDatabase], Awaitable[object]],
) -> None:
    async with maintained_database(database_url) as kept:
        for _ in range(_TIMES):
            await request_work(kept)

    assert max(locked) == 1


async def test_a_batch_of_reencryption_locks_one_partition(
    database_url: str, tmp_path: Path, locked: list[int]
) -> None:
    async with key_deployment(database_url, tmp_path) as deployed:
        for _ in range(3):
            await _create_on_three_days(deployed)
        await deployed.rotate()
        locked.clear()

        batches = [
            await deployed.life.records.change_batch("v2", None, 1, lambda row: row.sealed)
            for _ in range(9)
        ]

    assert [batch.changed for batch in batches] == [1] * 9
    assert max(locked) == 1


async def test_no_plan_for_every_partition_is_ever_made(database_url: str) -> None:
    """Making one locks all of them as well, and keeps megabytes in each connection."""
    async with maintained_database(database_url) as kept:
        for _ in range(_TIMES):
            await _get(kept)
            await _release(kept)
        async with kept.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT coalesce(sum(generic_plans), 0), sum(custom_plans) FROM pg_prepared_statements"
                " WHERE statement LIKE '%payment_tokens%'"
            )
            generic, custom = await cursor.fetchone() or (0, 0)

    assert generic == 0
    assert custom > 0


async def _create_on_three_days(deployed: KeyDeployment) -> None:
    key = await deployed.keys.service.active()
    for days in range(3):
        new = new_token(datetime.now(UTC), ttl=timedelta(hours=1, days=days), service_key=key.name)
        assert await deployed.store.create(new) is CounterVerdict.FRESH
