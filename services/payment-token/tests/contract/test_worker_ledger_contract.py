"""What workers used of their limits: the contract, on the fake and on PostgreSQL.

Windows here are an hour or a day long, so that none ends while a test runs, but for those whose end is what is tested.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.domain.worker_limits import WorkerLedger
from payment_token.domain.worker_policy import Budget, Rate
from payment_token.infrastructure.database.pool import new_limits_pool
from payment_token.infrastructure.database.worker_ledger import PostgresWorkerLedger
from tests.fakes.memory_worker_ledger import MemoryWorkerLedger

DAY = 86_400
HOUR = 3_600
SHORT = 3
ONE, OTHER = "spiffe://example.org/one", "spiffe://example.org/other"

# Two processes of one deployment.
Ledgers = tuple[WorkerLedger, WorkerLedger]


@pytest.fixture(params=["memory", "postgres"])
async def ledgers(request: pytest.FixtureRequest) -> AsyncIterator[Ledgers]:
    if HOUR - time.time() % HOUR < 20:
        await asyncio.sleep(20)
    if request.param == "memory":
        ledger = MemoryWorkerLedger(lambda: datetime.now(UTC))
        yield ledger, ledger
        return
    url = request.getfixturevalue("database_url")
    async with AsyncExitStack() as closing:
        one, two = [
            PostgresWorkerLedger(await closing.enter_async_context(new_limits_pool(url)))
            for _ in range(2)
        ]
        yield one, two


@pytest.fixture
def ledger(ledgers: Ledgers) -> WorkerLedger:
    return ledgers[0]


def token() -> TokenId:
    return TokenId.new(os.urandom(RANDOM_BYTES), datetime.now(UTC) + timedelta(hours=1))


async def short_window_begins(ledger: WorkerLedger) -> None:
    # Connected before, so that all of it is left.
    await ledger.lease_permits(OTHER, Rate(1, HOUR), 1)
    await asyncio.sleep(SHORT - time.time() % SHORT)


async def charged(
    ledger: WorkerLedger, tokens: list[TokenId], budget: Budget, identity: str = ONE
) -> list[bool]:
    """All at once."""
    charges = await asyncio.gather(
        *(ledger.charge_token(identity, budget, each) for each in tokens)
    )
    return [each.within for each in charges]


async def test_a_budget_has_as_many_tokens_as_it_says(ledger: WorkerLedger) -> None:
    tokens = [token() for _ in range(5)]

    found = [await charged(ledger, [each], Budget(3, DAY)) for each in tokens]

    assert found == [[True]] * 3 + [[False]] * 2


async def test_a_token_is_charged_once(ledger: WorkerLedger) -> None:
    first, second = token(), token()

    assert await charged(ledger, [first] * 20, Budget(2, DAY)) == [True] * 20
    assert await charged(ledger, [first, second, first], Budget(2, DAY)) == [True] * 3
    assert await charged(ledger, [token()], Budget(2, DAY)) == [False]
    assert await charged(ledger, [second, first], Budget(2, DAY)) == [True] * 2


async def test_at_the_boundary_no_more_than_the_budget_of_whatever_comes_at_once(
    ledgers: Ledgers,
) -> None:
    tokens = [token() for _ in range(150)]

    # Both processes are asked for all of them, so each token is wanted twice.
    answers = await asyncio.gather(
        charged(ledgers[0], tokens, Budget(40, DAY)),
        charged(ledgers[1], tokens[::-1], Budget(40, DAY)),
    )

    given = {tokens[place] for place, within in enumerate(answers[0]) if within}
    given |= {tokens[::-1][place] for place, within in enumerate(answers[1]) if within}
    assert len(given) == 40
    # Whoever was refused because it came too late is let through once another got that token.
    assert await charged(ledgers[0], sorted(given, key=str), Budget(40, DAY)) == [True] * 40


async def test_what_is_over_the_budget_uses_nothing_up(ledger: WorkerLedger) -> None:
    await charged(ledger, [token()], Budget(1, DAY))
    await charged(ledger, [token() for _ in range(30)], Budget(1, DAY))

    assert (
        await charged(ledger, [token() for _ in range(5)], Budget(3, DAY))
        == [True] * 2 + [False] * 3
    )


async def test_workers_have_budgets_of_their_own(ledger: WorkerLedger) -> None:
    wanted = token()
    mine, theirs = await asyncio.gather(
        charged(ledger, [wanted, token(), token()], Budget(1, DAY)),
        charged(ledger, [wanted, token(), token()], Budget(2, DAY), OTHER),
    )

    assert mine == [True, False, False]
    assert theirs == [True, True, False]


async def test_a_smaller_budget_holds_within_the_same_window(ledger: WorkerLedger) -> None:
    had = [token() for _ in range(4)]
    await charged(ledger, had, Budget(10, DAY))

    assert await charged(ledger, [token()], Budget(4, DAY)) == [False]
    assert await charged(ledger, had, Budget(1, DAY)) == [True] * 4
    assert await charged(ledger, [token()], Budget(5, DAY)) == [True]


async def test_a_window_says_when_it_ends_and_the_next_one_is_new(ledger: WorkerLedger) -> None:
    first, budget = token(), Budget(1, SHORT)
    await short_window_begins(ledger)
    charge = await ledger.charge_token(ONE, budget, first)
    assert 0 < charge.seconds_left <= SHORT
    assert await charged(ledger, [token()], budget) == [False]
    await asyncio.sleep(charge.seconds_left + 0.05)

    # What it had before counts anew.
    assert await charged(ledger, [first], budget) == [True]
    assert await charged(ledger, [token()], budget) == [False]


async def test_a_rate_gives_as_many_permits_as_it_has(ledgers: Ledgers) -> None:
    rate = Rate(100, HOUR)

    first = await ledgers[0].lease_permits(ONE, rate, 60)
    second = await ledgers[1].lease_permits(ONE, rate, 60)
    third = await ledgers[0].lease_permits(ONE, rate, 1)

    assert [first.granted, second.granted, third.granted] == [60, 40, 0]
    assert 0 < third.seconds_left <= HOUR


async def test_permits_that_are_wanted_at_once_are_never_more_than_there_are(
    ledgers: Ledgers,
) -> None:
    rate = Rate(50, HOUR)

    leases = await asyncio.gather(
        *(ledger.lease_permits(ONE, rate, 7) for _ in range(10) for ledger in ledgers)
    )

    assert sum(lease.granted for lease in leases) == 50


async def test_workers_have_rates_of_their_own(ledger: WorkerLedger) -> None:
    leases = await asyncio.gather(
        ledger.lease_permits(ONE, Rate(3, HOUR), 5),
        ledger.lease_permits(OTHER, Rate(4, HOUR), 5),
    )

    assert [lease.granted for lease in leases] == [3, 4]


async def test_permits_and_tokens_are_counted_apart(ledger: WorkerLedger) -> None:
    await ledger.lease_permits(ONE, Rate(3, HOUR), 3)

    assert await charged(ledger, [token(), token()], Budget(1, HOUR)) == [True, False]


async def test_permits_are_new_in_the_next_window(ledger: WorkerLedger) -> None:
    rate = Rate(2, SHORT)
    await short_window_begins(ledger)
    lease = await ledger.lease_permits(ONE, rate, 5)
    assert lease.granted == 2
    assert (await ledger.lease_permits(ONE, rate, 1)).granted == 0
    await asyncio.sleep(lease.seconds_left + 0.05)

    assert (await ledger.lease_permits(ONE, rate, 1)).granted == 1
