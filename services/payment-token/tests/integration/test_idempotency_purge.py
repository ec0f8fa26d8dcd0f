"""Idempotency keys past their window go, in batches; live ones, and those just taken over, stay."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain import maintain
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.errors import TokenExpiredError
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.fakes.fixed_keys import FixedKeys
from tests.support.maintained import MaintainedDatabase, maintained_database
from tests.support.tokens import new_token
from tests.support.use_cases import World

_MANY = """
INSERT INTO token_idempotency_keys
       (merchant_id, idempotency_key, token_id, fingerprint, fingerprint_key, created_at, expires_at)
SELECT 'm_1', 'many-' || number, '', '', 'v1', now(), now() + number * interval '1 second' + %s
  FROM generate_series(1, 450) AS number
"""

_KEYS = "SELECT idempotency_key FROM token_idempotency_keys ORDER BY idempotency_key"


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[MaintainedDatabase]:
    async with maintained_database(database_url) as kept:
        yield kept


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "_KEYS_IN_A_BATCH", 100)


def _end_window(kept: MaintainedDatabase, key: str) -> None:
    kept.database.execute(
        "UPDATE token_idempotency_keys SET expires_at = now() WHERE idempotency_key = %s", (key,)
    )


@pytest.mark.usefixtures("small_batches")
async def test_the_expired_go_in_batches_and_the_live_stay(kept: MaintainedDatabase) -> None:
    await kept.create(key="live")
    kept.database.execute(_MANY, (timedelta(days=-1),))

    done = await kept.maintain()

    assert done is not None
    assert done.keys == 450
    assert kept.database.execute(_KEYS).fetchall() == [("live",)]


@pytest.mark.usefixtures("small_batches")
async def test_keys_that_expire_at_one_instant_are_not_stepped_over(
    kept: MaintainedDatabase,
) -> None:
    kept.database.execute(_MANY, (timedelta(days=-1),))
    kept.database.execute("UPDATE token_idempotency_keys SET expires_at = now()")

    done = await kept.maintain()

    assert done is not None
    assert done.keys == 450


async def test_a_purged_key_makes_a_new_token(kept: MaintainedDatabase) -> None:
    first = await kept.create(key="k")
    _end_window(kept, "k")
    await kept.maintain()

    second = await kept.create(key="k")

    assert second != first


async def test_a_claim_that_is_taken_over_meanwhile_stays(kept: MaintainedDatabase) -> None:
    await kept.create(key="k")
    _end_window(kept, "k")
    with psycopg.connect(kept.url) as taking_over:
        taking_over.execute(
            "UPDATE token_idempotency_keys SET expires_at = now() + interval '1 day'"
            " WHERE idempotency_key = 'k'"
        )
        done = await asyncio.wait_for(kept.maintain(), timeout=10)

    assert done is not None
    assert done.keys == 0
    assert kept.database.execute(_KEYS).fetchall() == [("k",)]


async def test_many_claims_race_with_the_purge_of_their_keys(kept: MaintainedDatabase) -> None:
    """Each key has exactly one claim afterwards, whichever came first."""
    for number in range(20):
        await kept.create(key=f"k{number:02}")
    kept.database.execute("UPDATE token_idempotency_keys SET expires_at = now()")

    made = await asyncio.gather(
        kept.maintain(),
        *(
            kept.store.create(new_token(datetime.now(UTC), key=f"k{number:02}"))
            for number in range(20)
        ),
    )

    assert made[1:] == [CounterVerdict.FRESH] * 20
    assert len(kept.database.execute(_KEYS).fetchall()) == 20


async def test_a_key_outlives_its_purged_token_and_makes_no_second_one(
    kept: MaintainedDatabase,
) -> None:
    world = World(time=datetime.now(UTC), index_keys=FixedKeys("v1"))
    world.store = PostgresTokenStore(kept.pool, kept.pool, timedelta(hours=24))  # type: ignore[assignment]
    request = world.request(key="k", ttl_seconds=1)
    made = await world.tokenise(request)
    async with kept.maintenance.alone() as tables:
        assert tables is not None
        await tables.drop_partition(made.token.token_id.purge_day)

    with pytest.raises(TokenExpiredError) as expired:
        await world.tokenise(request)

    assert expired.value.payment_token == made.token.token_id.text
    assert await world.store.get(request.merchant_id, made.token.token_id) is None
