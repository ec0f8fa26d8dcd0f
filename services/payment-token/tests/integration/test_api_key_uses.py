"""When API keys were last used: written beside the requests, by many processes, and never in their way."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.infrastructure.database.api_key_uses import PostgresAPIKeyUses
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.noted_uses import NotedUses
from tests.support.postgres_proxy import Way, postgres_proxy

KEYS = [f"{number:016x}" for number in range(20)]


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with new_pool(database_url) as pool:
        yield pool


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as database:
        return database.execute(query).fetchall()


async def test_a_use_is_known_to_the_minute(database_url: str, pool: Pool) -> None:
    uses = NotedUses(PostgresAPIKeyUses(pool))
    for _ in range(1000):
        uses.note(KEYS[0])
    await uses.write()

    found = "SELECT key_id, last_used_at = date_trunc('minute', last_used_at), now() - last_used_at < '2 minutes' FROM api_key_uses"
    assert rows(database_url, found) == [(KEYS[0], True, True)]


async def test_a_key_is_written_once_a_minute_by_all_together(
    database_url: str, pool: Pool
) -> None:
    processes = [NotedUses(PostgresAPIKeyUses(pool)) for _ in range(4)]

    async def all_write() -> None:
        for uses in processes:
            for key_id in reversed(KEYS):
                uses.note(key_id)
        await asyncio.gather(*(uses.write() for uses in processes))

    await all_write()
    first = rows(database_url, "SELECT key_id, xmin::text FROM api_key_uses ORDER BY 1")
    await all_write()
    assert [key_id for key_id, _ in first] == KEYS
    with psycopg.connect(database_url, autocommit=True) as database:
        # Two minutes later some are in use, and others not.
        database.execute(
            "UPDATE api_key_uses SET last_used_at = last_used_at - interval '2 minutes'"
        )
    aged = rows(database_url, "SELECT key_id, xmin::text FROM api_key_uses ORDER BY 1")
    await all_write()

    again = rows(database_url, "SELECT key_id, xmin::text FROM api_key_uses ORDER BY 1")
    assert all(before != after for before, after in zip(aged, again, strict=True))
    await all_write()
    assert rows(database_url, "SELECT key_id, xmin::text FROM api_key_uses ORDER BY 1") == again


async def test_a_row_that_another_process_has_at_hand_is_left_to_it(
    database_url: str, pool: Pool
) -> None:
    uses = NotedUses(PostgresAPIKeyUses(pool))
    with psycopg.connect(database_url) as other:
        for key_id in KEYS[:2]:
            other.execute("INSERT INTO api_key_uses VALUES (%s, '2026-01-01Z')", (key_id,))
        other.commit()
        other.execute("SELECT FROM api_key_uses WHERE key_id = %s FOR UPDATE", (KEYS[0],))
        for key_id in KEYS[:3]:
            uses.note(key_id)

        await uses.write()

    old = "SELECT key_id FROM api_key_uses WHERE last_used_at < now() - interval '1 hour'"
    assert rows(database_url, old) == [(KEYS[0],)]
    assert rows(database_url, "SELECT count(*) FROM api_key_uses") == [(3,)]


async def test_nobody_who_changes_a_key_waits_for_it_or_is_waited_for(
    database_url: str, pool: Pool
) -> None:
    """Whoever has taken over a process that serves can lock what it writes, and so must hold up no revocation."""
    uses = NotedUses(PostgresAPIKeyUses(pool))
    with psycopg.connect(database_url) as operator, psycopg.connect(database_url) as process:
        operator.execute(
            "INSERT INTO api_keys (key_id, name, merchants, secret_sha256) VALUES (%s, '', '{}', '')",
            (KEYS[0],),
        )
        operator.execute("INSERT INTO api_key_uses VALUES (%s, '2026-01-01Z')", (KEYS[0],))
        operator.commit()
        operator.execute("SELECT FROM api_keys FOR UPDATE")
        uses.note(KEYS[0])
        await uses.write()
        operator.rollback()
        recent = "SELECT last_used_at > '2026-01-02Z' FROM api_key_uses"
        assert rows(database_url, recent) == [(True,)]

        process.execute("LOCK api_key_uses")
        operator.execute("SET lock_timeout = '2s'")
        revoked = operator.execute("UPDATE api_keys SET revoked_at = clock_timestamp()")
        assert revoked.rowcount == 1


async def test_what_an_outage_kept_back_is_written_after_it(database_url: str) -> None:
    async with postgres_proxy(database_url) as wire, new_pool(wire.url) as pool:
        uses = NotedUses(PostgresAPIKeyUses(pool))
        uses.note(KEYS[0])
        await pool.wait()
        wire.cut_at(Way.TO_SERVER, 1)
        with pytest.raises(DatabaseUnavailableError):
            await uses.write()
        uses.note(KEYS[1])
        wire.heal()

        await uses.write()

    assert rows(database_url, "SELECT key_id FROM api_key_uses ORDER BY 1") == [
        (KEYS[0],),
        (KEYS[1],),
    ]


async def test_a_database_that_answers_no_more_holds_up_nobody(database_url: str) -> None:
    async with postgres_proxy(database_url) as wire, new_pool(wire.url) as pool:
        uses = NotedUses(PostgresAPIKeyUses(pool))
        uses.note(KEYS[0])
        wire.go_silent(for_all=True)
        writing = asyncio.create_task(uses.write())
        await asyncio.sleep(0.1)

        uses.note(KEYS[1])

        assert not writing.done()
        writing.cancel()
        await asyncio.sleep(0)
        wire.heal()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await uses.write()
    assert rows(database_url, "SELECT count(*) FROM api_key_uses") == [(2,)]
