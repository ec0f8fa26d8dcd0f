"""How many requests are let through, and how often the supply is asked for it."""

import asyncio
from dataclasses import dataclass

import pytest

from payment_token.api.errors import answer_to
from payment_token.domain.errors import DatabaseUnavailableError, RateLimitedError
from payment_token.domain.permits import Rate
from payment_token.infrastructure.leased_permits import Lease, LeasedPermits
from tests.fakes.memory_permit_store import MemoryPermitStore

RATE = Rate(100, 200)


@dataclass
class Deployment:
    """Some processes with one supply, and a clock that stands."""

    now: float = 1000.0

    def __post_init__(self) -> None:
        self.store = MemoryPermitStore(lambda: self.now)
        self.workers = [LeasedPermits(self.store, lambda: self.now) for _ in range(3)]

    async def passes(self, worker: int, rate: Rate = RATE, holder: str = "key") -> bool:
        try:
            await self.workers[worker].take(holder, rate)
        except RateLimitedError:
            return False
        return True


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


async def test_without_a_rate_nobody_is_asked(deployment: Deployment) -> None:
    for _ in range(1000):
        await deployment.workers[0].take("key", None)

    assert deployment.store.leases == []


async def test_most_requests_ask_nobody(deployment: Deployment) -> None:
    passed = [await deployment.passes(0) for _ in range(100)]

    assert all(passed)
    assert deployment.store.leases == [10] * 10


async def test_all_processes_together_pass_a_burst_and_then_the_rate(
    deployment: Deployment,
) -> None:
    passed = 0
    for step in range(3000):
        passed += await deployment.passes(step % 3)
        deployment.now += 0.001

    # What a process has left over at the end is what others lack.
    assert 200 + 300 - 30 <= passed <= 200 + 300


async def test_a_refusal_asks_nobody_until_there_is_hope(deployment: Deployment) -> None:
    rate = Rate(2, 1)
    assert await deployment.passes(0, rate)
    asked = len(deployment.store.leases)

    for _ in range(50):
        assert not await deployment.passes(0, rate)
    assert len(deployment.store.leases) == asked

    deployment.now += 0.5
    assert await deployment.passes(0, rate)


async def test_what_is_left_over_is_no_second_burst(deployment: Deployment) -> None:
    for worker in range(3):
        assert await deployment.passes(worker)
    deployment.now += 60.0

    passed = sum([await deployment.passes(step % 3) for step in range(1000)])

    assert passed == 200


async def test_requests_that_come_together_ask_together(deployment: Deployment) -> None:
    passed = await asyncio.gather(*(deployment.passes(0) for _ in range(150)))

    assert all(passed)
    assert len(deployment.store.leases) <= 3


async def test_one_key_waits_for_no_other(deployment: Deployment) -> None:
    rate = Rate(1, 1)
    assert await deployment.passes(0, rate)
    assert not await deployment.passes(0, rate)

    assert await deployment.passes(0, rate, holder="other")


@pytest.mark.parametrize(("seconds", "said"), [(0.001, 1), (1.0, 1), (1.2, 2), (59.5, 60)])
async def test_it_is_said_when_to_come_again(seconds: float, said: int) -> None:
    class Empty:
        async def lease(self, *_: object) -> Lease:
            return Lease(0, seconds)

    permits = LeasedPermits(Empty(), lambda: 1000.0)
    for _ in range(2):
        with pytest.raises(RateLimitedError) as refusal:
            await permits.take("key", RATE)
        answer = answer_to(refusal.value)
        assert (answer.status, answer.retry_after_seconds) == (429, said)


async def test_a_slow_supply_still_lets_through_whom_it_answers(deployment: Deployment) -> None:
    class Slow:
        async def lease(self, *_: object) -> Lease:
            deployment.now += 2.5
            return Lease(10, 0.0)

    permits = LeasedPermits(Slow(), lambda: deployment.now)
    for _ in range(3):
        await permits.take("key", RATE)


async def test_in_an_outage_nobody_passes_and_afterwards_all_is_well(
    deployment: Deployment,
) -> None:
    class Away:
        is_away = True
        asked = 0

        async def lease(self, holder: str, rate: Rate, wanted: int) -> Lease:
            self.asked += 1
            await asyncio.sleep(0)
            if self.is_away:
                raise DatabaseUnavailableError
            return await deployment.store.lease(holder, rate, wanted)

    store = Away()
    permits = LeasedPermits(store, lambda: deployment.now)
    outcomes = await asyncio.gather(
        *(permits.take("key", RATE) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, DatabaseUnavailableError) for outcome in outcomes)
    assert store.asked == 1

    store.is_away = False
    await permits.take("key", RATE)


async def test_who_hangs_up_while_waiting_takes_nobody_along(deployment: Deployment) -> None:
    may_answer = asyncio.Event()

    class Waiting:
        async def lease(self, holder: str, rate: Rate, wanted: int) -> Lease:
            await may_answer.wait()
            return await deployment.store.lease(holder, rate, wanted)

    permits = LeasedPermits(Waiting(), lambda: deployment.now)
    first, second = (asyncio.create_task(permits.take("key", RATE)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    may_answer.set()

    await second
    assert first.cancelled()
