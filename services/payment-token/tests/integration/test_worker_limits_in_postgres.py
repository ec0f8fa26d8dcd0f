"""Limits of workers on a real PostgreSQL: several processes, a clock that is set, a database that goes away, old windows."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from payment_token.bootstrap.recorded_purges import RecordedPurges
from payment_token.domain import maintain
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    OverWorkerLimitError,
    PaymentTokenError,
)
from payment_token.domain.maintain import Maintain, Maintained
from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.domain.worker_limits import WorkerLimits
from payment_token.domain.worker_policy import Budget, Rate
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.pool import new_limits_pool, new_pool
from payment_token.infrastructure.database.privileges import MAINTAINER, VAULT
from payment_token.infrastructure.database.worker_ledger import PostgresWorkerLedger
from tests.support.audit_logs import audit_log_of
from tests.support.databases import database_named, own_database
from tests.support.logins import login_of
from tests.support.long_form import usual_or_long
from tests.support.postgres_proxy import Way, postgres_proxy
from tests.support.server_clock import ServerClock, server_with_a_clock

WORKER = "spiffe://example.org/w"
HOUR = 3_600
BOUND_SECONDS = 5.0
LONGEST = timedelta(days=2)


@dataclass
class Process:
    """What one process of the deployment knows of its workers' limits."""

    limits: WorkerLimits

    async def charge(self, *tokens: TokenId, budget: Budget, identity: str = WORKER) -> int:
        """All at once. How many were within the budget."""
        found = await asyncio.gather(
            *(self.limits.charge(identity, budget, each) for each in tokens),
            return_exceptions=True,
        )
        assert {type(each) for each in found} <= {type(None), OverWorkerLimitError}, found
        return found.count(None)

    async def requests(self, number: int, rate: Rate, identity: str = WORKER) -> int:
        found = await asyncio.gather(
            *(self.limits.take_permit(identity, rate) for _ in range(number)),
            return_exceptions=True,
        )
        assert {type(each) for each in found} <= {type(None), OverWorkerLimitError}, found
        return found.count(None)


@asynccontextmanager
async def processes(url: str, number: int = 2) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as closing:
        yield [
            Process(
                WorkerLimits(
                    PostgresWorkerLedger(await closing.enter_async_context(new_limits_pool(url))),
                    time.monotonic,
                )
            )
            for _ in range(number)
        ]


@pytest.fixture
def hour() -> None:
    """The hour does not end while the test runs."""
    left = HOUR - time.time() % HOUR
    if left < 30:
        time.sleep(left)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ServerClock]]:
    with server_with_a_clock(tmp_path_factory.mktemp("limits")) as (server, clock):
        migration.upgrade(server.url)
        yield server.url, clock


@pytest.fixture
def fresh(clocked: tuple[str, ServerClock]) -> Iterator[tuple[str, ServerClock]]:
    """A database of this test's own, ten minutes after the hour."""
    url, clock = clocked
    whole = urlsplit(url).path.removeprefix("/")
    with own_database(database_named(url, "postgres"), whole) as own:
        set_minute(clock, 10)
        yield own, clock


def set_minute(clock: ServerClock, minute: int) -> None:
    """Of an hour of this day that is always the same one, so that "back" is back."""
    begin = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0)
    clock.set(begin + timedelta(minutes=minute) - datetime.now(UTC))


def tokens(number: int) -> list[TokenId]:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return [TokenId.new(os.urandom(RANDOM_BYTES), expires_at) for _ in range(number)]


def counts(url: str) -> tuple[int, int]:
    """Rows: uses, windows."""
    with psycopg.connect(url) as database:
        return database.execute(
            "SELECT (SELECT count(*) FROM worker_token_uses), (SELECT count(*) FROM worker_limit_windows)"
        ).fetchone() or (0, 0)


async def maintained(url: str) -> Maintained:
    done = await Maintain(PostgresMaintenance(url), RecordedPurges(url), LONGEST)()
    assert done is not None
    return done


# --- Several processes -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hour")
async def test_four_processes_keep_one_budget_whatever_they_race_for(database_url: str) -> None:
    budget = Budget(usual_or_long(100, 2000), HOUR)
    wanted = tokens(3 * budget.tokens)
    async with processes(database_url, 4) as deployed:
        found = await asyncio.gather(
            *(
                process.charge(*wanted[place::2], budget=budget)
                for place in (0, 1)
                for process in deployed
            )
        )
        assert sum(found) >= budget.tokens

        with psycopg.connect(database_url) as database:
            used = database.execute("SELECT used FROM worker_limit_windows").fetchall()
        assert counts(database_url)[0] == budget.tokens
        assert used == [(budget.tokens,)]


@pytest.mark.usefixtures("hour")
async def test_processes_that_race_for_several_workers_wait_for_each_other_in_one_order(
    database_url: str,
) -> None:
    workers = [f"spiffe://example.org/{number}" for number in range(8)]
    async with processes(database_url, 4) as deployed:

        async def busy(process: Process, place: int) -> None:
            order = workers[place:] + workers[:place]
            for _ in range(5):
                await asyncio.gather(
                    *(
                        process.charge(*tokens(3), budget=Budget(10, HOUR), identity=worker)
                        for worker in order
                    )
                )

        await asyncio.gather(*(busy(process, 2 * place) for place, process in enumerate(deployed)))

    with psycopg.connect(database_url) as database:
        per_worker = database.execute(
            "SELECT identity, count(*) FROM worker_token_uses GROUP BY identity"
        ).fetchall()
    assert dict(per_worker) == dict.fromkeys(workers, 10)


@pytest.mark.usefixtures("hour")
async def test_processes_share_a_rate(database_url: str) -> None:
    async with processes(database_url, 3) as deployed:
        found = await asyncio.gather(
            *(process.requests(90, Rate(120, HOUR)) for process in deployed)
        )

        assert sum(found) == 120
        assert await deployed[0].requests(50, Rate(120, HOUR)) == 0


@pytest.mark.usefixtures("hour")
async def test_what_a_process_leased_and_did_not_use_is_lost_and_never_used_twice(
    database_url: str,
) -> None:
    rate = Rate(160, HOUR)
    async with processes(database_url) as (first, second):
        assert await first.requests(1, rate) == 1
        assert await second.requests(400, rate) == 150
        # What the first one leased it has still, until it ends.
        assert await first.requests(400, rate) == 9


async def test_a_deployment_without_limits_has_no_connection_for_them(database_url: str) -> None:
    async with new_limits_pool(database_url) as pool:
        await asyncio.sleep(0.2)
        assert pool.get_stats()["pool_size"] == 0


# --- The clock -------------------------------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_gives_no_budget_anew(
    fresh: tuple[str, ServerClock],
) -> None:
    url, clock = fresh
    budget = Budget(5, HOUR)
    had = tokens(5)
    async with processes(url) as (first, second):
        assert await first.charge(*had, *tokens(3), budget=budget) == 5
        set_minute(clock, 70)
        assert await first.charge(*tokens(9), budget=budget) == 5
        await maintained(url)
        set_minute(clock, 10)

        assert await second.charge(*tokens(9), budget=budget) == 0
        assert await second.charge(*had, budget=budget) == 5
        set_minute(clock, 71)
        assert await second.charge(*tokens(9), budget=budget) == 0


async def test_at_the_end_of_a_window_the_next_one_begins_for_all_processes(
    fresh: tuple[str, ServerClock],
) -> None:
    url, clock = fresh
    budget = Budget(50, HOUR)
    begin = datetime.now(UTC).replace(hour=3, minute=59, second=58, microsecond=500_000)
    async with processes(url) as deployed:
        # Connected before, so that there is time in the first window.
        for process in deployed:
            await process.requests(1, Rate(100, HOUR))
        clock.set(begin - datetime.now(UTC))

        async def busy(process: Process) -> int:
            within = 0
            while clock.now < begin + timedelta(seconds=3):
                within += await process.charge(*tokens(10), budget=budget)
            return within

        found = await asyncio.gather(*(busy(process) for process in deployed))

    with psycopg.connect(url) as database:
        windows = database.execute(
            "SELECT window_start, count(*) FROM worker_token_uses GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert [number for _, number in windows] == [50, 50]
    assert sum(found) == 100


# --- A database that goes away ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hour")
@pytest.mark.parametrize("way", Way)
async def test_a_connection_that_breaks_lets_nothing_through_and_costs_no_budget_twice(
    database_url: str, way: Way
) -> None:
    budget = Budget(40, HOUR)
    async with (
        postgres_proxy(database_url) as wire,
        processes(wire.url, 1) as (process,),
        processes(database_url, 1) as (other,),
    ):
        wanted, had = tokens(30), []
        for place, token in enumerate(wanted):
            wire.cut_at(way, 1 + place % 7)
            for _ in range(20):
                try:
                    await process.limits.charge(WORKER, budget, token)
                except DatabaseUnavailableError:
                    continue
                had.append(token)
                break
        assert had == wanted

        # Whatever broke, each was charged once.
        assert await other.charge(*tokens(20), budget=budget) == 10


async def test_a_database_that_is_silent_is_an_outage_in_time(database_url: str) -> None:
    async with postgres_proxy(database_url) as wire, processes(wire.url, 1) as (process,):
        assert await process.charge(*tokens(1), budget=Budget(5, HOUR)) == 1
        wire.go_silent(for_all=True)
        began = time.monotonic()
        for limited in (
            process.limits.charge(WORKER, Budget(5, HOUR), tokens(1)[0]),
            process.limits.take_permit(WORKER, Rate(5, HOUR)),
        ):
            with pytest.raises((PaymentTokenError, TimeoutError)):
                await asyncio.wait_for(limited, BOUND_SECONDS)
        assert time.monotonic() - began < 2 * BOUND_SECONDS + 1
        wire.heal()


async def test_a_row_that_somebody_holds_is_an_outage_and_not_a_release(database_url: str) -> None:
    async with processes(database_url, 1) as (process,):
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE worker_limit_windows IN ACCESS EXCLUSIVE MODE")
            for limited in (
                process.limits.charge(WORKER, Budget(5, HOUR), tokens(1)[0]),
                process.limits.take_permit(WORKER, Rate(5, HOUR)),
            ):
                with pytest.raises(DatabaseUnavailableError):
                    await limited
            other.rollback()

        assert await process.charge(*tokens(9), budget=Budget(5, HOUR)) == 5


@pytest.mark.usefixtures("hour")
async def test_what_was_charged_before_a_durable_record_survives_a_crash(tmp_path: Path) -> None:
    """A charge does not wait for the disk by itself: the record that is committed after it does so for both."""
    with EmbeddedServer(tmp_path) as server:
        migration.upgrade(server.url)
        for crash in range(3):
            async with (
                new_pool(server.url) as pool,
                audit_log_of(server.url, pool) as log,
                processes(server.url, 1) as (process,),
            ):
                await process.charge(*tokens(1), budget=Budget(100, HOUR))
                await log.record(AuditEvent(EventKind.DECRYPT, Outcome.RELEASED, Actor(WORKER)))
                _crash(server)
            server.ensure_running()
            assert counts(server.url) == (crash + 1, 1)


def _crash(server: EmbeddedServer) -> None:
    """Without a word to its clients, nor to the disk; and wait until it is gone."""
    postmaster = server.postmaster_pid
    assert postmaster is not None
    os.kill(postmaster, signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while server.postmaster_pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- Old windows -----------------------------------------------------------------------------------------------------


async def test_old_windows_go_in_batches_and_young_ones_stay(
    fresh: tuple[str, ServerClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, clock = fresh
    monkeypatch.setattr(maintain, "_USES_IN_A_BATCH", 7)
    monkeypatch.setattr(maintain, "_PAUSE_SECONDS", 0.0)
    async with processes(url, 1) as (process,):
        for minute in (0, 1, 2):
            set_minute(clock, minute)
            assert await process.charge(*tokens(20), budget=Budget(50, 60)) == 20
            assert await process.requests(3, Rate(16, 60)) == 3
        assert (await maintained(url)).uses == 0
        set_minute(clock, 62)

        done = await maintained(url)

        # Those of the first two minutes are over for an hour.
        assert (done.uses, counts(url)) == (40, (20, 2))
        set_minute(clock, 64)
        assert (await maintained(url)).uses == 20
        assert counts(url) == (0, 0)


async def test_a_window_stays_as_long_as_a_use_of_it(fresh: tuple[str, ServerClock]) -> None:
    url, clock = fresh
    async with processes(url, 1) as (process,):
        await process.charge(*tokens(5), budget=Budget(50, 60))
    set_minute(clock, 100)
    with psycopg.connect(url, autocommit=True) as database:
        async with PostgresMaintenance(url).alone() as tables:
            assert tables is not None
            assert await tables.delete_old_windows(10) == 0
            assert await tables.delete_old_uses(3) == 3
            assert await tables.delete_old_windows(10) == 0
            assert await tables.delete_old_uses(3) == 2
            assert await tables.delete_old_windows(10) == 1
        assert database.execute("SELECT count(*) FROM worker_token_uses").fetchone() == (0,)


@pytest.mark.usefixtures("hour")
async def test_the_roles_can_do_what_they_must_and_give_nothing_back(database_url: str) -> None:
    with login_of(database_url, VAULT) as vault, login_of(database_url, MAINTAINER) as maintainer:
        async with processes(vault, 1) as (process,):
            assert await process.charge(*tokens(4), budget=Budget(3, HOUR)) == 3
            assert await process.charge(*tokens(2), budget=Budget(4, HOUR)) == 1
            assert await process.requests(9, Rate(5, HOUR)) == 5
        assert (await maintained(maintainer)).uses == 0
        for statement in (
            "DELETE FROM worker_token_uses",
            "UPDATE worker_token_uses SET token_id = ''",
            "DELETE FROM worker_limit_windows",
            "UPDATE worker_limit_windows SET window_start = now()",
        ):
            with psycopg.connect(vault) as login, pytest.raises(InsufficientPrivilege):
                login.execute(statement)
    assert counts(database_url) == (4, 2)
