"""The database's clock decides when an API key ends, and is set: forward, and back."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from payment_token.domain.api_key import PresentedKey, new_api_key
from payment_token.domain.errors import UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Rate
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.api_key_permits import PostgresPermitStore
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.recognised_api_keys import RecognisedAPIKeys
from tests.support.databases import database_named, own_database
from tests.support.server_clock import ServerClock, server_with_a_clock

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ServerClock]]:
    with server_with_a_clock(tmp_path_factory.mktemp("clocked")) as (server, clock):
        migration.upgrade(server.url)
        yield server.url, clock


@pytest.fixture
async def fresh(clocked: tuple[str, ServerClock]) -> AsyncIterator[tuple[Pool, ServerClock]]:
    url, clock = clocked
    whole = urlsplit(url).path.removeprefix("/")
    with own_database(database_named(url, "postgres"), whole) as own:
        async with new_pool(own) as pool:
            yield pool, clock
    clock.set(timedelta())


async def made(store: PostgresAPIKeyStore, expires_at: datetime) -> PresentedKey:
    key, secret = new_api_key("", (MerchantId("m_1"),), os.urandom, expires_at=expires_at)
    await store.add(key)
    return PresentedKey.parse(secret)


class Process:
    """Its own monotonic clock can be moved on, as if so long had passed."""

    def __init__(self, store: PostgresAPIKeyStore) -> None:
        self.passed = 0.0
        self._keys = RecognisedAPIKeys(
            store,
            lambda: time.monotonic() + self.passed,
            lambda: 0.5,
            note_use=lambda _: None,
        )

    async def takes(self, presented: PresentedKey) -> bool:
        try:
            await self._keys.authenticate(presented)
        except UnauthenticatedError:
            return False
        return True


async def test_no_other_clock_decides(fresh: tuple[Pool, ServerClock]) -> None:
    pool, clock = fresh
    store = PostgresAPIKeyStore(pool)
    presented = await made(store, await store.now() + HOUR)

    clock.set(HOUR - timedelta(minutes=1))
    assert await Process(store).takes(presented)
    clock.set(HOUR)
    assert not await Process(store).takes(presented)
    clock.set(-HOUR)
    assert await Process(store).takes(presented)


async def test_a_remembered_key_ends_though_the_clock_was_set_back_and_forth(
    fresh: tuple[Pool, ServerClock],
) -> None:
    pool, clock = fresh
    store = PostgresAPIKeyStore(pool)
    clock.set(timedelta())
    presented = await made(store, await store.now() + HOUR)
    process = Process(store)

    # Three seconds before its end, it is remembered with three seconds.
    clock.set(HOUR - timedelta(seconds=3))
    assert await process.takes(presented)
    clock.set(HOUR)
    process.passed = 3.0

    assert not await process.takes(presented)


async def test_a_clock_that_was_set_back_keeps_nobody_out_for_long(
    fresh: tuple[Pool, ServerClock],
) -> None:
    pool, clock = fresh
    permits, rate = PostgresPermitStore(pool), Rate(1, 3)
    clock.set(HOUR)
    assert (await permits.lease("key", rate, 3)).permits == 3

    clock.set(timedelta())
    lease = await permits.lease("key", rate, 3)

    # No longer than a whole burst takes to come back.
    assert lease.permits == 0
    assert 0 < lease.seconds <= 3
    clock.set(timedelta(seconds=4))
    assert (await permits.lease("key", rate, 3)).permits == 3
