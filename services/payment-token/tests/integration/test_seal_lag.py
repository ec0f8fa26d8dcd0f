"""A process that releases knows by itself when nobody seals."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.seal_lag import SealLag
from tests.support.sealing import SealedDatabase, sealed_database


@pytest.fixture
async def lag(database_url: str) -> AsyncIterator[SealLag]:
    async with new_pool(database_url) as pool:
        yield SealLag(pool)


async def sealed(url: str) -> SealedDatabase:
    with sealed_database(url) as log:
        log.writer().write()
        await log.seal()
        return log


async def test_who_has_written_nothing_waits_for_nothing(lag: SealLag) -> None:
    assert await lag.seconds() == 0


async def test_without_any_seal_it_grows_from_the_first_record_on(lag: SealLag) -> None:
    now = datetime.now(UTC)
    lag.wrote(now - timedelta(seconds=400))
    lag.wrote(now)

    assert 399 < await lag.seconds() < 430


async def test_a_seal_after_the_last_record_ends_it(lag: SealLag, database_url: str) -> None:
    lag.wrote(datetime.now(UTC) - timedelta(seconds=400))
    await sealed(database_url)

    assert await lag.seconds() == 0
    lag.wrote(datetime.now(UTC) + timedelta(seconds=1))
    assert await lag.seconds() < 5


async def test_a_seal_in_between_leaves_what_came_after_it(lag: SealLag, database_url: str) -> None:
    lag.wrote(datetime.now(UTC) - timedelta(seconds=400))
    await sealed(database_url)
    lag.wrote(datetime.now(UTC) + timedelta(seconds=2))

    assert await lag.seconds() < 30
