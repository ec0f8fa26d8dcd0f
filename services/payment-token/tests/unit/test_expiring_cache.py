"""The cache of secrets: bounded in number and age, one call for all who wait, wiped when nobody can be at work."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from payment_token.domain.expiring_cache import JITTER, WIPE_DELAY_SECONDS, ExpiringCache
from payment_token.domain.sensitive import SecretKey


class Source:
    """Makes secrets when a test lets it, and counts."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def maker(self, name: str) -> Callable[[], Awaitable[SecretKey]]:
        async def make() -> SecretKey:
            self.calls.append(name)
            await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            return SecretKey(f"{name} {len(self.calls)}".encode())

        return make


class Held:
    """A cache with a clock and dice that the test sets."""

    def __init__(self, limit: int = 3) -> None:
        self.time = 1000.0
        self.dice = 0.5
        self.wiped: list[SecretKey] = []
        self.source = Source()
        self.cache: ExpiringCache[str, SecretKey] = ExpiringCache(
            lambda: self.time, lambda: self.dice, self._wipe, limit=limit, age_seconds=100
        )

    def _wipe(self, key: SecretKey) -> None:
        self.wiped.append(key)
        key.wipe()

    async def get(self, name: str) -> SecretKey:
        return await self.cache.get(name, self.source.maker(name))


@pytest.fixture
async def held() -> Held:
    return Held()


async def settle() -> None:
    """Lets everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_held_is_given_again(held: Held) -> None:
    first = await held.get("a")
    assert await held.get("a") is first
    assert held.source.calls == ["a"]


async def test_it_is_bounded_in_number_and_the_longest_unused_goes_first(held: Held) -> None:
    for name in ("a", "b", "c", "a", "d"):
        await held.get(name)
    held.source.calls.clear()

    for name in ("a", "c", "d"):
        await held.get(name)
    assert held.source.calls == []
    await held.get("b")
    assert held.source.calls == ["b"]


async def test_a_limit_of_one(held: Held) -> None:
    small = Held(limit=1)
    for name in ("a", "b", "a", "a"):
        await small.get(name)
    assert small.source.calls == ["a", "b", "a"]


@pytest.mark.parametrize(("dice", "age"), [(0.0, 80.0), (0.25, 90.0), (0.5, 100.0), (1.0, 120.0)])
async def test_ages_are_spread_by_a_fifth_either_way(held: Held, dice: float, age: float) -> None:
    assert JITTER == 0.2
    held.dice = dice
    await held.get("a")

    held.time = 1000 + age - 0.001
    await held.get("a")
    assert held.source.calls == ["a"]
    held.time = 1000 + age + 0.001
    await held.get("a")
    assert held.source.calls == ["a", "a"]


async def test_the_age_counts_from_when_the_secret_came(held: Held) -> None:
    """Not from when it was asked for: a slow custodian must not make a fleet ask twice."""
    held.source.gate.clear()
    asked = asyncio.create_task(held.get("a"))
    await settle()
    held.time += 50
    held.source.gate.set()
    await asked
    held.time += 99
    await held.get("a")
    assert held.source.calls == ["a"]


async def test_many_who_miss_at_once_make_one_call(held: Held) -> None:
    held.source.gate.clear()
    waiting = [asyncio.create_task(held.get("a")) for _ in range(100)]
    waiting += [asyncio.create_task(held.get("b")) for _ in range(100)]
    await settle()
    assert held.source.calls == ["a", "b"]
    held.source.gate.set()
    found = await asyncio.gather(*waiting)
    assert {id(key) for key in found[:100]} == {id(found[0])}
    assert found[0] is not found[100]
    assert held.source.calls == ["a", "b"]


async def test_whoever_asked_first_may_go_away(held: Held) -> None:
    held.source.gate.clear()
    first = asyncio.create_task(held.get("a"))
    await settle()
    others = [asyncio.create_task(held.get("a")) for _ in range(5)]
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()

    held.source.gate.set()
    found = await asyncio.gather(*others)
    assert len({id(key) for key in found}) == 1
    assert held.source.calls == ["a"]


async def test_when_all_go_away_what_was_made_is_kept_for_the_next(held: Held) -> None:
    held.source.gate.clear()
    asked = [asyncio.create_task(held.get("a")) for _ in range(3)]
    await settle()
    for task in asked:
        task.cancel()
    held.source.gate.set()
    await settle()
    await held.get("a")
    assert held.source.calls == ["a"]


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(held: Held) -> None:
    held.source.gate.clear()
    held.source.fault = LookupError("away")
    waiting = [asyncio.create_task(held.get("a")) for _ in range(10)]
    await settle()
    held.source.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [LookupError] * 10
    assert held.source.calls == ["a"]

    held.source.fault = None
    assert (await held.get("a")).reveal() == b"a 2"


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(
    held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    held.source.gate.clear()
    held.source.fault = LookupError("away")
    asked = asyncio.create_task(held.get("a"))
    await settle()
    asked.cancel()
    held.source.gate.set()
    await settle()
    gc.collect()
    assert not caplog.records


async def test_what_was_let_go_of_is_wiped_later_and_not_before(held: Held) -> None:
    key = await held.get("a")
    held.time += 100
    held.cache.forget_expired()
    assert held.wiped == []
    assert key.reveal() == b"a 1"

    held.time += WIPE_DELAY_SECONDS - 0.001
    held.cache.forget_expired()
    assert key.reveal() == b"a 1"

    held.time += 0.001
    held.cache.forget_expired()
    assert held.wiped == [key]
    with pytest.raises(ValueError, match="wiped"):
        key.reveal()
    held.cache.forget_expired()
    assert len(held.wiped) == 1


async def test_what_nobody_asks_for_again_is_let_go_of_all_the_same(held: Held) -> None:
    await held.get("a")
    held.time += 50
    kept = await held.get("b")
    held.time += 50
    held.cache.forget_expired()
    held.time += WIPE_DELAY_SECONDS
    held.cache.forget_expired()
    assert len(held.wiped) == 1
    assert kept.reveal() == b"b 2"


@pytest.mark.parametrize("way", ["evicted", "aged"])
async def test_the_other_ways_out_end_in_wiping_too(held: Held, way: str) -> None:
    key = await held.get("a")
    if way == "evicted":
        for name in ("b", "c", "d"):
            await held.get(name)
    else:
        held.time += 100
        assert await held.get("a") is not key
    assert key.reveal() == b"a 1"
    held.time += WIPE_DELAY_SECONDS
    held.cache.forget_expired()
    assert held.wiped == [key]


async def test_what_was_asked_for_anew_is_not_wiped_with_its_forerunner(held: Held) -> None:
    await held.get("a")
    held.time += 100
    second = await held.get("a")
    held.time += WIPE_DELAY_SECONDS
    held.cache.forget_expired()
    assert len(held.wiped) == 1
    assert second.reveal() == b"a 2"
    assert await held.get("a") is second
