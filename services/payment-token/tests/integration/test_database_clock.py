"""Time is the database's."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.infrastructure.database import clock as clock_module
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.tokens import new_token


async def test_the_estimate_is_close(database_url: str) -> None:
    async with new_pool(database_url) as pool:
        clock = DatabaseClock(pool)
        await clock.synchronise()

        with psycopg.connect(database_url) as database:
            (theirs,) = database.execute("SELECT clock_timestamp()").fetchone() or (None,)

    assert theirs is not None
    assert abs(theirs - clock.now()) < timedelta(milliseconds=500)
    assert clock.now().tzinfo is UTC
    assert clock.error_seconds() < 0.5


async def test_without_a_reading_there_is_no_time(database_url: str) -> None:
    async with new_pool(database_url) as pool:
        with pytest.raises(DatabaseUnavailableError, match="clock"):
            DatabaseClock(pool).now()


async def test_an_old_reading_is_not_trusted(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_pool(database_url) as pool:
        clock = DatabaseClock(pool)
        await clock.synchronise()
        real = clock_module.time.monotonic

        monkeypatch.setattr(clock_module.time, "monotonic", lambda: real() + 900)
        clock.now()
        monkeypatch.setattr(clock_module.time, "monotonic", lambda: real() + 1100)
        with pytest.raises(DatabaseUnavailableError, match="clock"):
            clock.now()


@pytest.mark.parametrize("seconds_off", [-3, 3])
async def test_a_token_whose_time_is_off_is_refused(database_url: str, seconds_off: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)"
            " VALUES ('service', 'v1', 'active', 'local:kek', '', 'test')"
        )
    async with new_pool(database_url) as pool:
        store = PostgresTokenStore(pool, pool, timedelta(hours=1))
        new = new_token(datetime.now(UTC) + timedelta(seconds=seconds_off))

        with pytest.raises(DatabaseUnavailableError, match="clocks"):
            await store.create(new)

        assert await store.get(new.stored.token.merchant_id, new.stored.token.token_id) is None
