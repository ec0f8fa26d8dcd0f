"""No card data without its record, whatever becomes of the database: and afterwards all is as before, the chain whole.

``Releasing`` looks at each answer's time, and in the end at every record that there is.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from payment_token.domain.ports import TokenChangedError
from tests.support.audit_chain import rows_of
from tests.support.long_form import LONG, usual_or_long
from tests.support.postgres_proxy import Way, Wire, postgres_proxy
from tests.support.releasing import Releasing, releasing


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Releasing]:
    async with releasing(database_url, database_url) as process:
        yield process


@pytest.fixture
async def wired(database_url: str) -> AsyncIterator[tuple[Releasing, Wire]]:
    async with (
        postgres_proxy(database_url) as wire,
        releasing(database_url, wire.url) as process,
    ):
        yield process, wire


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def locked(other: psycopg.Connection, table: str = "decrypt_audit_log") -> Iterator[None]:
    with other.transaction(force_rollback=True):
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def this_month(other: psycopg.Connection) -> str:
    (name,) = other.execute(
        "SELECT 'decrypt_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
    ).fetchone() or ("",)
    return str(name)


async def test_a_lock_that_is_short_is_waited_for(
    process: Releasing, other: psycopg.Connection
) -> None:
    with locked(other):
        working = asyncio.ensure_future(process.release())
        await asyncio.sleep(0.6)
    assert await working
    assert process.writers == 1


@pytest.mark.parametrize("whole", [True, False], ids=["table", "partition"])
async def test_a_lock_that_is_long_is_an_outage(
    process: Releasing, other: psycopg.Connection, *, whole: bool
) -> None:
    with locked(other, "decrypt_audit_log" if whole else this_month(other)):
        assert await asyncio.gather(*(process.release() for _ in range(5))) == [False] * 5
        assert not await process.is_ready()
        assert not await process.release()
    await process.recover()
    # The server said that it took them back.
    assert process.writers == 1


@asynccontextmanager
async def a_login_of_its_own(database_url: str, other: psycopg.Connection) -> AsyncIterator[str]:
    name = f"service_{uuid.uuid4().hex[:8]}"
    other.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'service'")
    other.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    other.execute(f"GRANT UPDATE (status) ON payment_tokens TO {name}")
    other.execute(f"GRANT INSERT (writer_id, sequence, record) ON decrypt_audit_log TO {name}")
    try:
        yield name
    finally:
        other.execute(f"DROP OWNED BY {name}")
        other.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("revoke", "grant"),
    [
        (
            "REVOKE INSERT (record) ON decrypt_audit_log FROM {}",
            "GRANT INSERT (record) ON decrypt_audit_log TO {}",
        ),
        # A connection that is there keeps it from nothing; the server's answer does.
        (
            "ALTER ROLE {0} NOLOGIN; REVOKE INSERT (writer_id) ON decrypt_audit_log FROM {0}",
            "ALTER ROLE {0} LOGIN; GRANT INSERT (writer_id) ON decrypt_audit_log TO {0}",
        ),
    ],
    ids=["insert", "login"],
)
async def test_a_role_that_is_revoked(
    database_url: str, other: psycopg.Connection, revoke: str, grant: str
) -> None:
    async with a_login_of_its_own(database_url, other) as name:
        service_url = make_conninfo(database_url, user=name, password="service")
        async with releasing(database_url, service_url) as process:
            other.execute(revoke.format(name))
            assert not await process.release()
            assert not await process.is_ready()
            other.execute(grant.format(name))
            await process.recover()
            assert process.writers == 1


async def test_a_month_without_a_partition(process: Releasing, other: psycopg.Connection) -> None:
    month = this_month(other)
    (bound,) = other.execute(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", (month,)
    ).fetchone() or ("",)
    other.execute(f"ALTER TABLE decrypt_audit_log DETACH PARTITION {month}")
    assert not await process.is_ready()
    assert not await process.release()
    assert not await process.is_ready()
    other.execute(f"ALTER TABLE decrypt_audit_log ATTACH PARTITION {month} {bound}")
    await process.recover()
    assert process.writers == 1


async def test_a_server_that_ends_the_connection_of_a_batch(
    process: Releasing, other: psycopg.Connection, database_url: str
) -> None:
    with locked(other):
        working = asyncio.ensure_future(process.release())
        await asyncio.sleep(0.2)
        ended = process.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchall()
        assert ended
        assert not await working
    await process.recover()
    assert process.writers == 2


async def release_alone(process: Releasing, other: psycopg.Connection) -> bool:
    """While somebody else is at the token: not with a batch, but under a lock of its own."""
    with other.transaction(force_rollback=True):
        other.execute(
            "SELECT FROM payment_tokens WHERE token_id = %s FOR UPDATE",
            (process.token.token_id.text,),
        )
        working = asyncio.ensure_future(process.release())
        await asyncio.sleep(0.04)
    return await working


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("alone", [False, True], ids=["in a batch", "alone"])
async def test_a_connection_that_is_cut_at_any_message(
    wired: tuple[Releasing, Wire], other: psycopg.Connection, way: Way, *, alone: bool
) -> None:
    """Before a statement is sent, in the middle of it, after it, in the middle of its answer."""
    process, wire = wired
    landed = lost = 0
    for message in range(1, 200):
        known = len(rows_of(other))
        wire.cut_at(way, message)
        answered = await (release_alone(process, other) if alone else process.release())
        wire.heal()
        if not wire.cuts:
            assert answered
            break
        if not answered:
            landed += len(rows_of(other)) > known
            lost += 1
        await process.recover()
    else:
        pytest.fail("a release has no end")
    assert message > (3 if way is Way.TO_SERVER else 2)
    assert lost
    # An answer that is lost is lost after its record has come in.
    assert landed or way is Way.TO_SERVER


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0])
async def test_a_disk_that_is_slow(wired: tuple[Releasing, Wire], seconds: float) -> None:
    process, wire = wired
    # An answer is four messages.
    wire.delay[Way.TO_CLIENT] = seconds / 4

    outcomes = await asyncio.gather(*(process.release() for _ in range(5)))

    assert set(outcomes) == {seconds < 2}
    wire.heal()
    await process.recover()
    assert process.writers == (1 if seconds < 2 else 2)


@pytest.mark.parametrize("of_all", [False, True], ids=["old ones", "all"])
async def test_connections_on_which_nothing_comes(
    wired: tuple[Releasing, Wire], *, of_all: bool
) -> None:
    process, wire = wired
    wire.go_silent(for_all=of_all)
    assert not await process.release()
    if of_all:
        assert not await process.is_ready()
        assert not await process.release()
        wire.heal()
    # Of old connections nobody ever hears again.
    await process.recover(within=8)


async def test_an_outage_under_load(wired: tuple[Releasing, Wire]) -> None:
    """A silence longer than all bounds, while requests go on."""
    process, wire = wired
    outcomes: list[bool] = []

    async def ask() -> None:
        while True:
            outcomes.append(await process.release())
            await asyncio.sleep(0.005)

    asking = [asyncio.ensure_future(ask()) for _ in range(10)]
    await asyncio.sleep(0.2)
    wire.go_silent(for_all=True)
    await asyncio.sleep(usual_or_long(3.0, 30.0))
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    wire.heal()

    assert {True, False} == set(outcomes)
    await process.recover()


@pytest.mark.parametrize("too_late", [False, True])
async def test_a_batch_that_arrives_late(wired: tuple[Releasing, Wire], *, too_late: bool) -> None:
    """It comes in and is taken back; or not at all, for no sealer accepts a record that is two seconds old."""
    process, wire = wired
    known = len(rows_of(process.database))
    wire.go_silent(for_all=True)
    assert not await process.release()
    await asyncio.sleep(0.6 * too_late)
    wire.heal()
    await asyncio.sleep(0.1)
    released = [
        row for row in rows_of(process.database)[known:] if row.parsed["outcome"] == "released"
    ]
    assert len(released) == (not too_late)
    await process.recover()


async def test_a_caller_that_is_given_up_is_taken_back(
    process: Releasing, other: psycopg.Connection
) -> None:
    with locked(other):
        working = [asyncio.ensure_future(process.release()) for _ in range(4)]
        await asyncio.sleep(0.2)
        for task in working[:3]:
            task.cancel()
    assert await working[3]
    await process.settle()
    (taken_back,) = other.execute(
        "SELECT count(*) FROM audit_records WHERE event = 'not_released'"
    ).fetchone() or (0,)
    assert taken_back == 3


async def test_a_process_that_ends_in_doubt_says_so_first(database_url: str) -> None:
    async with postgres_proxy(database_url) as wire:
        async with releasing(database_url, wire.url) as process:
            wire.cut_at(Way.TO_CLIENT, 2)
            assert not await process.release()
        assert [row.parsed["event"] for row in rows_of_closed(database_url)].count(
            "not_released"
        ) == 1


def rows_of_closed(url: str) -> list:
    with psycopg.connect(url) as database:
        return rows_of(database)


async def test_a_token_that_ends_in_an_outage_is_not_released(
    wired: tuple[Releasing, Wire], other: psycopg.Connection
) -> None:
    process, wire = wired
    wire.cut_at(Way.TO_CLIENT, 1)
    assert not await process.release()
    other.execute("UPDATE payment_tokens SET expires_at = created_at + interval '1 ms'")
    with pytest.raises(TokenChangedError):
        await process.recover()
    await process.settle()


@pytest.mark.skipif(not LONG, reason="minutes long: LONG_TESTS=1")
async def test_many_cuts_under_load(wired: tuple[Releasing, Wire]) -> None:
    process, wire = wired
    for message in range(1, 300):
        wire.cut_at(Way.TO_CLIENT if message % 2 else Way.TO_SERVER, message // 2 + 1)
        await asyncio.gather(*(process.release() for _ in range(30)))
        wire.heal()
        await process.recover()
