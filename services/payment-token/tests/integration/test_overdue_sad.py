"""SAD past its deadline is shredded, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain import end_overdue_sad
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.end_overdue_sad import EndOverdueSAD
from payment_token.domain.token import SADStatus, StoredToken
from payment_token.infrastructure.database.overdue_sad import PostgresOverdueSAD
from tests.support.maintained import MaintainedDatabase, maintained_database
from tests.support.tokens import new_token

OVER = timedelta(seconds=-1)
LIVE = timedelta(minutes=30)


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[MaintainedDatabase]:
    async with maintained_database(database_url) as kept:
        yield kept


@pytest.fixture
def sweep(kept: MaintainedDatabase) -> EndOverdueSAD:
    return EndOverdueSAD(PostgresOverdueSAD(kept.url))


async def create(
    kept: MaintainedDatabase, sad_ttl: timedelta | None, ttl: timedelta = timedelta(hours=1)
) -> StoredToken:
    new = new_token(datetime.now(UTC), sad_ttl=sad_ttl, ttl=ttl)
    assert await kept.store.create(new) is CounterVerdict.FRESH
    return new.stored


async def now_of(kept: MaintainedDatabase, stored: StoredToken) -> StoredToken:
    found = await kept.store.get(stored.token.merchant_id, stored.token.token_id)
    assert found is not None
    return found


async def test_what_is_overdue_goes_and_what_lives_stays(
    kept: MaintainedDatabase, sweep: EndOverdueSAD
) -> None:
    overdue = [
        await create(kept, OVER),
        await create(kept, timedelta(seconds=-50), timedelta(hours=30)),
    ]
    others = [await create(kept, LIVE), await create(kept, None)]

    ended = await sweep()

    assert ended is not None
    assert ended.tokens == 2
    assert timedelta(seconds=50) <= ended.latest < timedelta(minutes=5)
    for stored in overdue:
        after = await now_of(kept, stored)
        assert (after.sealed_sad, after.sealed_pan) == (None, stored.sealed_pan)
        assert after.sad_destroyed_at is not None
        # Its time was over; nobody ended it before.
        assert after.sad_status(datetime.now(UTC)) is SADStatus.EXPIRED
    for stored in others:
        assert await now_of(kept, stored) == stored


async def test_again_there_is_nothing_to_do(kept: MaintainedDatabase, sweep: EndOverdueSAD) -> None:
    stored = await create(kept, OVER)
    await sweep()
    after = await now_of(kept, stored)

    again = await sweep()

    assert again is not None
    assert again.tokens == 0
    assert await now_of(kept, stored) == after


async def test_many_go_in_batches(
    kept: MaintainedDatabase, sweep: EndOverdueSAD, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_overdue_sad, "_IN_A_BATCH", 3)
    for _ in range(7):
        await create(kept, OVER)

    ended = await sweep()

    assert ended is not None
    assert ended.tokens == 7


async def test_one_process_at_a_time(kept: MaintainedDatabase, sweep: EndOverdueSAD) -> None:
    await create(kept, OVER)

    async with PostgresOverdueSAD(kept.url).alone() as first:
        assert first is not None
        assert await sweep() is None
    ended = await sweep()

    assert ended is not None
    assert ended.tokens == 1


async def test_a_token_in_use_waits_for_the_next_run(
    kept: MaintainedDatabase, sweep: EndOverdueSAD
) -> None:
    used, free = await create(kept, OVER), await create(kept, OVER)
    with psycopg.connect(kept.url) as other:
        other.execute(
            "SELECT FROM payment_tokens WHERE token_id = %s FOR SHARE", (used.token.token_id.text,)
        )
        ended = await sweep()
    assert ended is not None
    assert ended.tokens == 1
    assert (await now_of(kept, free)).sealed_sad is None
    assert (await now_of(kept, used)).sealed_sad == used.sealed_sad

    ended = await sweep()

    assert ended is not None
    assert ended.tokens == 1


async def test_a_completion_meanwhile_agrees_on_one_time(
    kept: MaintainedDatabase, sweep: EndOverdueSAD
) -> None:
    stored = await create(kept, OVER)

    async def record() -> None: ...

    end, _ = await asyncio.gather(
        kept.store.end_sad(stored.token.merchant_id, stored.token.token_id, record), sweep()
    )
    await sweep()

    assert end is not None
    assert (await now_of(kept, stored)).sad_destroyed_at == end.destroyed_at


async def test_the_index_finds_it(kept: MaintainedDatabase) -> None:
    plans = kept.database.execute(
        "SET enable_seqscan = off; EXPLAIN SELECT DISTINCT purge_day FROM payment_tokens"
        " WHERE sealed_sad IS NOT NULL AND sad_deadline <= now()"
    )
    plans.nextset()
    plan = "\n".join(line for (line,) in plans.fetchall())

    assert "Seq Scan" not in plan
    assert "sad_deadline_idx" in plan


async def test_a_partition_that_maintenance_makes_has_the_index(kept: MaintainedDatabase) -> None:
    await kept.maintain()

    without = kept.database.execute(
        "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'payment_tokens'::regclass"
        " AND NOT EXISTS (SELECT FROM pg_indexes WHERE tablename = inhrelid::regclass::text"
        "                  AND indexdef LIKE '%(sad_deadline)%')"
    ).fetchall()

    assert without == []
