"""What a supply of permits promises, on the real one and on the one that tests use."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from payment_token.domain.permits import Rate
from payment_token.infrastructure.database.api_key_permits import PostgresPermitStore
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.leased_permits import PermitStore
from tests.fakes.memory_permit_store import MemoryPermitStore


@pytest.fixture(params=["PostgreSQL", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[PermitStore]:
    if request.param == "memory":
        yield MemoryPermitStore(time.monotonic)
        return
    async with new_pool(request.getfixturevalue("database_url")) as pool:
        yield PostgresPermitStore(pool)


async def test_a_burst_is_there_and_no_more(store: PermitStore) -> None:
    rate, began = Rate(1, 7), time.monotonic()

    granted = [(await store.lease("k", rate, 3)).permits for _ in range(4)]

    assert granted[:2] == [3, 3]
    assert 7 <= sum(granted) <= 7 + 1 + (time.monotonic() - began)


async def test_more_than_a_burst_is_not_given_at_once(store: PermitStore) -> None:
    assert (await store.lease("k", Rate(1, 4), 1000)).permits == 4


async def test_who_gets_none_hears_when_the_next_is_free(store: PermitStore) -> None:
    rate = Rate(2, 1)
    first = await store.lease("k", rate, 1)
    assert first.permits == 1
    assert 0 < first.seconds <= 0.5

    while (lease := await store.lease("k", rate, 1)).permits == 0:
        assert 0 < lease.seconds <= 0.5
        await asyncio.sleep(lease.seconds)


async def test_a_burst_comes_back_with_time(store: PermitStore) -> None:
    rate = Rate(100, 10)
    assert (await store.lease("k", rate, 10)).permits == 10

    await asyncio.sleep(0.11)

    assert (await store.lease("k", rate, 1000)).permits == 10


async def test_one_holder_takes_nothing_from_another(store: PermitStore) -> None:
    rate = Rate(1, 2)
    for holder in ("a", "b"):
        assert (await store.lease(holder, rate, 2)).permits == 2


async def test_at_once_no_more_is_given_than_there_is(store: PermitStore) -> None:
    rate, began = Rate(5, 50), time.monotonic()

    leases = await asyncio.gather(*(store.lease("k", rate, 3) for _ in range(40)))

    granted = sum(lease.permits for lease in leases)
    assert 50 <= granted <= 50 + 5 * (time.monotonic() - began) + 1
