"""Limits of workers as a process keeps them. Two of them on one ledger are two processes of a deployment."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain import worker_limits
from payment_token.domain.errors import DatabaseUnavailableError, OverWorkerLimitError
from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.domain.worker_limits import BLOCKS, LeasedPermits, Limit, WorkerLimits
from payment_token.domain.worker_policy import Budget, Rate
from tests.fakes.memory_worker_ledger import MemoryWorkerLedger

WORKER, OTHER = "spiffe://w", "spiffe://other"
BUDGET = Budget(3, 60)
RATE = Rate(10, 60)


class Deployment:
    """``seconds`` is the time, of the database and of every process."""

    def __init__(self, processes: int = 2) -> None:
        self.seconds = 1_000_020.0
        self.ledger = MemoryWorkerLedger(lambda: datetime.fromtimestamp(self.seconds, UTC))
        self.processes = [WorkerLimits(self.ledger, self.now) for _ in range(processes)]

    def now(self) -> float:
        return self.seconds

    async def requests(
        self, number: int, rate: Rate = RATE, process: int = 0, identity: str = WORKER
    ) -> int:
        """How many of so many at once were let through."""
        limits = self.processes[process]
        found = await asyncio.gather(
            *(limits.take_permit(identity, rate) for _ in range(number)), return_exceptions=True
        )
        assert {type(each) for each in found} <= {type(None), OverWorkerLimitError}
        return found.count(None)


@pytest.fixture
def deployed() -> Deployment:
    return Deployment()


def token() -> TokenId:
    return TokenId.new(os.urandom(RANDOM_BYTES), datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_worker_without_limits_costs_nothing(deployed: Deployment) -> None:
    deployed.ledger.fails = True

    for _ in range(1000):
        await deployed.processes[0].take_permit(WORKER, None)
        await deployed.processes[0].charge(WORKER, None, token())

    assert deployed.ledger.asked == 0


# --- The rate --------------------------------------------------------------------------------------------------------


async def test_a_rate_lets_through_what_it_says_and_no_more(deployed: Deployment) -> None:
    assert await deployed.requests(25) == 10
    assert await deployed.requests(5) == 0


async def test_one_after_the_other_it_is_the_same(deployed: Deployment) -> None:
    assert [await deployed.requests(1) for _ in range(12)] == [1] * 10 + [0] * 2


async def test_processes_share_a_rate(deployed: Deployment) -> None:
    found = await asyncio.gather(deployed.requests(40), deployed.requests(40, process=1))

    assert sum(found) == 10


async def test_permits_come_in_blocks(deployed: Deployment) -> None:
    rate = Rate(BLOCKS * 50, 60)

    for _ in range(rate.requests):
        assert await deployed.requests(1, rate) == 1

    assert deployed.ledger.asked == BLOCKS
    assert await deployed.requests(1, rate) == 0


async def test_requests_that_come_together_are_one_question(deployed: Deployment) -> None:
    assert await deployed.requests(9) == 9
    assert deployed.ledger.asked == 1


async def test_whoever_hammers_asks_the_database_no_more(deployed: Deployment) -> None:
    await deployed.requests(11)
    asked = deployed.ledger.asked

    assert await deployed.requests(5000) == 0
    assert deployed.ledger.asked == asked


async def test_a_refusal_says_when_the_window_ends(deployed: Deployment) -> None:
    await deployed.requests(10)
    deployed.seconds += 12.4

    with pytest.raises(OverWorkerLimitError, match="10 requests in 60 seconds") as refused:
        await deployed.processes[0].take_permit(WORKER, RATE)

    # The window began at a multiple of 60 seconds, 0 seconds before the first of them.
    assert refused.value.retry_after_seconds == 48
    assert refused.value.limit is Limit.RATE


async def test_in_the_next_window_there_are_permits_again(deployed: Deployment) -> None:
    assert await deployed.requests(20) == 10
    deployed.seconds += 59.9
    assert await deployed.requests(20) == 0
    deployed.seconds += 0.1

    assert await deployed.requests(20) == 10


async def test_what_is_left_of_a_window_is_not_taken_into_the_next(deployed: Deployment) -> None:
    rate = Rate(BLOCKS * 4, 60)
    await deployed.requests(1, rate)
    deployed.seconds += 60

    assert await deployed.requests(200, rate) == rate.requests


async def test_a_process_that_ends_takes_its_permits_with_it(deployed: Deployment) -> None:
    rate = Rate(BLOCKS * 4, 60)
    await deployed.requests(1, rate)

    # Three of a block of four were not used, and nobody has them any more.
    assert await deployed.requests(200, rate, process=1) == rate.requests - 4


async def test_another_worker_is_not_held_up(deployed: Deployment) -> None:
    await deployed.requests(30)

    assert await deployed.requests(30, identity=OTHER) == 10


async def test_a_new_rate_holds_at_once_and_what_was_used_counts(deployed: Deployment) -> None:
    await deployed.requests(10)

    assert await deployed.requests(30, Rate(5, 60)) == 0
    assert await deployed.requests(60, Rate(40, 60)) == 30


async def test_a_database_that_is_slower_than_the_window_still_lets_requests_through() -> None:
    """What was leased counts in its window, so those who waited for it have it, late as it may be."""
    deployed = Deployment()

    async def slow(identity: str, rate: Rate, wanted: int) -> LeasedPermits:
        deployed.seconds += 5
        return LeasedPermits(wanted, 0.5)

    deployed.ledger.lease_permits = slow  # type: ignore[method-assign]

    assert await deployed.requests(3, Rate(10, 1)) == 3


async def test_without_a_database_nobody_is_let_through(deployed: Deployment) -> None:
    deployed.ledger.fails = True
    found = await asyncio.gather(
        *(deployed.processes[0].take_permit(WORKER, RATE) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [DatabaseUnavailableError] * 3
    deployed.ledger.fails = False

    assert await deployed.requests(30) == 10


async def test_a_request_that_is_given_up_does_not_hold_up_those_who_wait_with_it(
    deployed: Deployment,
) -> None:
    first = asyncio.create_task(deployed.processes[0].take_permit(WORKER, RATE))
    await asyncio.sleep(0)
    others = asyncio.create_task(deployed.requests(5))
    first.cancel()

    assert await others == 5


# --- The budget ------------------------------------------------------------------------------------------------------


async def charged(deployed: Deployment, *tokens: TokenId, process: int = 0, **more: object) -> int:
    budget = more.get("budget", BUDGET)
    assert isinstance(budget, Budget)
    found = await asyncio.gather(
        *(deployed.processes[process].charge(WORKER, budget, each) for each in tokens),
        return_exceptions=True,
    )
    assert {type(each) for each in found} <= {type(None), OverWorkerLimitError}
    return found.count(None)


async def test_a_retry_is_free_and_asks_nobody(deployed: Deployment) -> None:
    wanted = token()
    assert await charged(deployed, wanted) == 1
    asked = deployed.ledger.asked

    assert await charged(deployed, *[wanted] * 1000) == 1000
    assert deployed.ledger.asked == asked


async def test_a_retry_at_another_process_is_free(deployed: Deployment) -> None:
    tokens = [token() for _ in range(3)]
    assert await charged(deployed, *tokens) == 3

    assert await charged(deployed, *tokens, process=1) == 3
    assert await charged(deployed, token(), process=1) == 0


async def test_what_it_had_is_still_released_when_the_budget_is_used_up(
    deployed: Deployment,
) -> None:
    tokens = [token() for _ in range(3)]
    await charged(deployed, *tokens)

    assert await charged(deployed, token(), *tokens, token()) == 3


async def test_over_the_budget_says_when_the_window_ends(deployed: Deployment) -> None:
    await charged(deployed, token(), token(), token())
    deployed.seconds += 30.5

    with pytest.raises(OverWorkerLimitError, match="3 different tokens in 60 seconds") as refused:
        await deployed.processes[1].charge(WORKER, BUDGET, token())

    assert refused.value.retry_after_seconds == 30
    assert refused.value.limit is Limit.BUDGET


async def test_in_the_next_window_each_token_is_charged_anew(deployed: Deployment) -> None:
    tokens = [token() for _ in range(3)]
    await charged(deployed, *tokens)
    deployed.seconds += 60

    assert await charged(deployed, *tokens) == 3
    assert await charged(deployed, token()) == 0


async def test_a_window_of_another_length_knows_nothing_of_this_one(deployed: Deployment) -> None:
    """Else a token of the long window would be free in every short one that follows a change of the policy."""
    wanted = token()
    await charged(deployed, wanted, budget=Budget(1, 3600))

    assert await charged(deployed, wanted, budget=Budget(1, 60)) == 1
    assert await charged(deployed, token(), budget=Budget(1, 60)) == 0


async def test_more_tokens_than_a_process_remembers_are_asked_for_and_not_charged_again(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_limits, "_REMEMBERED", 2)
    tokens = [token() for _ in range(3)]

    for _ in range(3):
        assert await charged(deployed, *tokens) == 3
    assert len(deployed.processes[0]._charged) == 2


async def test_without_a_database_nothing_is_charged_and_nothing_let_through(
    deployed: Deployment,
) -> None:
    known, new = token(), token()
    await charged(deployed, known)
    deployed.ledger.fails = True

    await deployed.processes[0].charge(WORKER, BUDGET, known)
    with pytest.raises(DatabaseUnavailableError):
        await deployed.processes[0].charge(WORKER, BUDGET, new)

    deployed.ledger.fails = False
    assert await charged(deployed, token(), token(), token()) == 2


async def test_a_token_that_was_refused_is_let_through_once_the_policy_gives_more(
    deployed: Deployment,
) -> None:
    await charged(deployed, token(), token(), token())
    wanted = token()
    assert await charged(deployed, wanted) == 0

    assert await charged(deployed, wanted, budget=Budget(4, 60)) == 1
    assert await charged(deployed, token(), budget=Budget(4, 60)) == 0


def test_time_is_told_in_whole_seconds_and_never_at_once() -> None:
    seconds = timedelta(milliseconds=1).total_seconds()
    assert [worker_limits._whole_seconds(each) for each in (-1.0, 0.0, seconds, 1.0, 1.2)] == [
        1,
        1,
        1,
        1,
        2,
    ]
