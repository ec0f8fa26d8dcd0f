"""The database's clock goes into another month, or is set: records have its time all the same, or do not come in."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from payment_token.infrastructure.database import migration
from tests.support.audit_chain import rows_of
from tests.support.databases import database_named, own_database
from tests.support.releasing import Releasing, releasing
from tests.support.server_clock import ServerClock, server_with_a_clock

FOR_LONG = timedelta(days=300)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ServerClock]]:
    with server_with_a_clock(tmp_path_factory.mktemp("clocked")) as (server, clock):
        migration.upgrade(server.url)
        yield server.url, clock


@pytest.fixture
def fresh(clocked: tuple[str, ServerClock]) -> Iterator[tuple[str, ServerClock]]:
    """A database of this test's own."""
    url, clock = clocked
    whole = urlsplit(url).path.removeprefix("/")
    with own_database(database_named(url, "postgres"), whole) as own:
        yield own, clock


def first_of_next_month(time: datetime) -> datetime:
    return (
        time.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)
    ).replace(day=1)


async def test_a_month_ends(fresh: tuple[str, ServerClock]) -> None:
    """While a busy process writes: its chain goes on in the next month's partition."""
    url, clock = fresh
    next_month = first_of_next_month(clock.now)
    clock.set(next_month - timedelta(seconds=2) - datetime.now(UTC))
    async with releasing(url, url, FOR_LONG) as process:

        async def ask() -> None:
            while clock.now < next_month + timedelta(seconds=1):
                assert await process.release()

        await asyncio.gather(*(ask() for _ in range(4)))
        months = Counter(row.month for row in rows_of(process.database))
        assert set(months) == {
            (next_month - timedelta(days=1)).date().replace(day=1),
            next_month.date(),
        }
        assert process.writers == 1


@pytest.mark.parametrize(
    "by",
    [timedelta(seconds=3), timedelta(seconds=-3), timedelta(days=40)],
    ids=["forward", "back", "into another month"],
)
async def test_a_clock_that_is_set(fresh: tuple[str, ServerClock], by: timedelta) -> None:
    """Until the process has read it again, what it writes has another time than the database: nothing comes in."""
    url, clock = fresh
    async with releasing(url, url, FOR_LONG) as process:
        known = len(rows_of(process.database))
        clock.set(clock.ahead + by)
        for _ in range(3):
            assert not await process.release()
        assert len(rows_of(process.database)) == known

        await read_the_clock(process)

        await process.recover(within=0.0)
        assert process.writers == 1


async def test_a_clock_that_is_set_by_little(fresh: tuple[str, ServerClock]) -> None:
    url, clock = fresh
    async with releasing(url, url, FOR_LONG) as process:
        for by in (1.2, -1.2):
            clock.set(clock.ahead + timedelta(seconds=by))
            assert await process.release()
            await read_the_clock(process)
            assert await process.release()


async def read_the_clock(process: Releasing) -> None:
    """What the service does every five seconds."""
    await process.log._chain._clock.synchronise()
