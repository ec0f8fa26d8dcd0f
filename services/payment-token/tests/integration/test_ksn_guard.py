"""Counters of terminals under creates that share a statement, from two processes: what SQL decides is what the domain says."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain.counter_window import JUMP, WINDOW, CounterVerdict, CounterWindow
from payment_token.domain.errors import KSNReplayedError, PaymentTokenError
from payment_token.domain.token import NewToken
from payment_token.infrastructure.database.pool import new_batch_pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.tokens import new_token

TERMINAL = b"terminal"


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[list[PostgresTokenStore]]:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)"
            " VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'),"
            " ('index', 'v1', 'active', 'local:kek', '', 'test')"
        )
    async with store_of(database_url) as one, store_of(database_url) as two:
        yield [one, two]


@asynccontextmanager
async def store_of(url: str) -> AsyncIterator[PostgresTokenStore]:
    async with new_pool(url) as pool, new_batch_pool(url) as batches:
        yield PostgresTokenStore(pool, batches, timedelta(hours=1))


def read(counter: int, terminal: bytes = TERMINAL, key: str | None = None) -> NewToken:
    return new_token(datetime.now(UTC), initial_key_id=terminal, counters=(counter,), key=key)


def window_of(database: psycopg.Connection, terminal: bytes = TERMINAL) -> CounterWindow:
    row = database.execute(
        "SELECT high_water, seen::text FROM device_initial_keys WHERE initial_key_id = %s",
        (terminal,),
    ).fetchone()
    assert row is not None
    return CounterWindow(row[0], int(row[1][::-1], 2))


async def outcomes_of(
    stores: list[PostgresTokenStore], reads: list[NewToken]
) -> list[CounterVerdict | PaymentTokenError]:
    """Half of them by each process, all at once."""
    found = await asyncio.gather(
        *(stores[number % 2].create(new) for number, new in enumerate(reads)),
        return_exceptions=True,
    )
    for outcome in found:
        assert isinstance(outcome, CounterVerdict | KSNReplayedError), outcome
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(6))
async def test_the_window_is_what_was_accepted(
    stores: list[PostgresTokenStore], database_url: str, seed: int
) -> None:
    """Late reads, repeated ones, jumps and all, at once and one after another."""
    chance = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be repeated
    await stores[0].create(read(1))
    accepted, newest = [1], 1
    with psycopg.connect(database_url, autocommit=True) as database:
        for _ in range(12):
            ahead = chance.choice([50, 50, 50, WINDOW, WINDOW + 7, JUMP, JUMP + WINDOW])
            counters = [
                max(1, chance.randint(newest - WINDOW - 40, newest + ahead)) for _ in range(40)
            ]
            outcomes = await outcomes_of(stores, [read(counter) for counter in counters])
            fresh = [
                counter
                for counter, outcome in zip(counters, outcomes, strict=True)
                if isinstance(outcome, CounterVerdict)
            ]
            accepted += fresh
            newest = max(accepted)
            assert window_of(database) == CounterWindow().used(accepted)
        assert max(Counter(accepted).values()) == 1
        tokens = database.execute("SELECT count(*) FROM payment_tokens").fetchone()
        counted = database.execute("SELECT tokens FROM device_initial_keys").fetchone()
    assert tokens == counted == (len(accepted),)


async def test_a_storm_of_duplicates_makes_one_token_of_each_read(
    stores: list[PostgresTokenStore], database_url: str
) -> None:
    """Of five terminals, whose reads share statements with those of others."""
    terminals = [f"storm-{number:02}".encode() for number in range(5)]
    for terminal in terminals:
        await stores[0].create(read(1, terminal))
    reads = [
        read(counter, terminal)
        for terminal in terminals
        for counter in range(2, 12)
        for _ in range(2)
    ]
    random.Random(1).shuffle(reads)  # noqa: S311 - see above

    outcomes = await outcomes_of(stores, reads)

    assert outcomes.count(CounterVerdict.FRESH) == 50
    with psycopg.connect(database_url) as database:
        for terminal in terminals:
            assert window_of(database, terminal) == CounterWindow().used(range(1, 12))


async def test_a_read_whose_key_is_taken_uses_up_no_counter(
    stores: list[PostgresTokenStore], database_url: str
) -> None:
    await stores[0].create(read(1))
    first = read(2, key="k")
    await stores[0].create(first)

    outcome = await stores[1].create(read(3, key="k"))

    assert outcome == first.claim
    with psycopg.connect(database_url) as database:
        assert window_of(database) == CounterWindow().used([1, 2])
    assert await stores[1].create(read(3)) is CounterVerdict.FRESH


async def test_a_replay_waits_for_the_read_that_came_first(
    stores: list[PostgresTokenStore], database_url: str
) -> None:
    """It is decided by the newest version of the terminal's row, not by the one that it saw when it began."""
    await stores[0].create(read(1))
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute(
            "UPDATE device_initial_keys SET high_water = 9, seen = set_bit(seen, 0, 1)"
        )
        # 9 is a replay once that is committed, and was far from one before.
        waiting = asyncio.ensure_future(outcomes_of(stores, [read(9), read(9), read(10)]))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await other.commit()
    outcomes = await waiting
    assert [isinstance(outcome, KSNReplayedError) for outcome in outcomes] == [True, True, False]


async def test_a_new_terminal_is_active_with_its_first_token(
    stores: list[PostgresTokenStore], database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO devices (merchant_id, device_id, bdk_id, state, profile, initial_key_ids)"
            " VALUES ('m_1', 'd_1', 'b_1', 'registered', '{}', '{}')"
        )
        await stores[0].create(read(1))
        assert state_of(database) == "active"
        for state in ("suspended", "stolen", "retired"):
            database.execute("UPDATE devices SET state = %s", (state,))
            await stores[0].create(read(1, state.encode()))
            assert state_of(database) == state
        seen = database.execute(
            "SELECT count(*) FROM device_initial_keys WHERE first_seen_at <= last_seen_at AND tokens = 1"
        ).fetchone()
    assert seen == (4,)


def state_of(database: psycopg.Connection) -> str:
    row = database.execute("SELECT state FROM devices").fetchone()
    assert row is not None
    return str(row[0])
