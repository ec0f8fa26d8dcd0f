"""Who shares a batch, and that everybody gets an outcome of their own."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.errors import DatabaseUnavailableError, OverloadedError
from payment_token.infrastructure.database.faults import BatchRefusedError
from payment_token.infrastructure.database.group_commit import UNDECIDED, GroupCommit, Undecided


class Database:
    """Takes batches of numbers and gives their squares, when ``open`` is set. What is odd it leaves undecided."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.by_themselves: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None

    async def together(self, batch: Sequence[int]) -> Sequence[int | Undecided]:
        self.batches.append(list(batch))
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return [UNDECIDED if number % 2 else number * number for number in batch]

    async def alone(self, number: int) -> int:
        self.by_themselves.append(number)
        await asyncio.sleep(0)
        if number % 5 == 0:
            raise ZeroDivisionError(number)
        return number * number


@pytest.fixture
async def database() -> Database:
    return Database()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_idle_service_sends_one_at_once(database: Database) -> None:
    group = GroupCommit(database.together, database.alone)

    assert await group(4) == 16
    assert await group(6) == 36
    assert database.batches == [[4], [6]]


async def test_what_arrives_meanwhile_shares_the_next_batch(database: Database) -> None:
    group = GroupCommit(database.together, database.alone, most=3)
    database.open.clear()
    first = asyncio.ensure_future(group(2))
    await settle()
    others = [asyncio.ensure_future(group(number)) for number in (4, 6, 8, 10)]
    await settle()
    database.open.set()

    assert [await first, *(await asyncio.gather(*others))] == [4, 16, 36, 64, 100]
    assert database.batches == [[2], [4, 6, 8], [10]]


async def test_an_undecided_one_is_done_alone_and_holds_up_nobody(database: Database) -> None:
    blocked = asyncio.Event()

    async def alone(number: int) -> int:
        await blocked.wait()
        return -number

    group = GroupCommit(database.together, alone)
    odd = asyncio.ensure_future(group(3))
    await settle()

    assert await group(2) == 4
    assert not odd.done()
    blocked.set()
    assert await odd == -3


async def test_a_batch_that_is_refused_is_done_one_by_one(database: Database) -> None:
    """One poisoned item, number 10, fails alone."""
    group = GroupCommit(database.together, database.alone)
    database.fault = BatchRefusedError()

    outcomes = await asyncio.gather(*map(group, (2, 10, 4)), return_exceptions=True)

    assert [outcomes[0], outcomes[2]] == [4, 16]
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert sorted(database.by_themselves) == [2, 4, 10]


async def test_an_outage_is_told_to_each_and_nothing_is_tried_again(database: Database) -> None:
    group = GroupCommit(database.together, database.alone)
    database.fault = DatabaseUnavailableError("away")

    outcomes = await asyncio.gather(*map(group, (2, 4)), return_exceptions=True)

    assert [str(outcome) for outcome in outcomes] == ["away", "away"]
    # The frames of one request must not ride along with the error of another.
    assert outcomes[0] is not outcomes[1]
    assert database.by_themselves == []
    database.fault = None
    assert await group(6) == 36


async def test_more_than_may_wait_are_sent_away(database: Database) -> None:
    group = GroupCommit(database.together, database.alone, waiting=2)
    database.open.clear()
    first = asyncio.ensure_future(group(2))
    await settle()
    waiting = [asyncio.ensure_future(group(number)) for number in (4, 6)]
    await settle()

    with pytest.raises(OverloadedError):
        await group(8)
    database.open.set()
    assert [await first, *(await asyncio.gather(*waiting))] == [4, 16, 36]


async def test_who_was_given_up_is_not_begun(database: Database) -> None:
    group = GroupCommit(database.together, database.alone)
    database.open.clear()
    first = asyncio.ensure_future(group(2))
    await settle()
    given_up, other = asyncio.ensure_future(group(4)), asyncio.ensure_future(group(6))
    await settle()
    given_up.cancel()
    database.open.set()

    assert (await first, await other) == (4, 36)
    assert database.batches == [[2], [6]]


async def test_who_is_given_up_later_changes_nothing_for_the_others(database: Database) -> None:
    group = GroupCommit(database.together, database.alone)
    database.open.clear()
    given_up, other = asyncio.ensure_future(group(4)), asyncio.ensure_future(group(6))
    await settle()
    given_up.cancel()
    database.open.set()

    assert await other == 36


async def test_lanes_bound_the_batches_on_their_way(database: Database) -> None:
    group = GroupCommit(database.together, database.alone, lanes=2)
    database.open.clear()
    working = []
    for number in (2, 4, 6, 8):
        working.append(asyncio.ensure_future(group(number)))
        await settle()

    assert database.batches == [[2], [4]]
    database.open.set()
    await asyncio.gather(*working)
    assert database.batches == [[2], [4], [6, 8]]


@given(
    numbers=st.lists(st.integers(0, 30), max_size=60),
    most=st.integers(1, 7),
    lanes=st.integers(1, 3),
)
def test_each_gets_its_own_outcome(numbers: list[int], most: int, lanes: int) -> None:
    async def run() -> tuple[Database, list[int | BaseException]]:
        database = Database()
        group = GroupCommit(database.together, database.alone, lanes=lanes, most=most)
        return database, await asyncio.gather(*map(group, numbers), return_exceptions=True)

    database, outcomes = asyncio.run(run())

    for number, outcome in zip(numbers, outcomes, strict=True):
        if number % 2 and number % 5 == 0:
            assert isinstance(outcome, ZeroDivisionError)
        else:
            assert outcome == number * number
    assert sorted(number for batch in database.batches for number in batch) == sorted(numbers)
    assert all(len(batch) <= most for batch in database.batches)
