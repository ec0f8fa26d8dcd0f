"""Many requests in one call: order, lines, deadline, defects, and what all batches may do together."""

import asyncio
import time

import pytest

from payment_token.api.batch import (
    MOST,
    Batch,
    Batches,
    asked,
    check_names_items,
    in_lines,
    in_order,
    item_id,
    names_an_item,
    read_in_turns,
)
from payment_token.api.rest.request_context import is_request_id, new_request_id
from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.errors import InvalidFieldError, OverloadedError
from payment_token.domain.identifiers import REQUEST_ID


def test_what_shares_a_key_is_one_line():
    assert in_lines(["a", None, "b", "a", None, "a"]) == [[0, 3, 5], [1], [2], [4]]
    assert in_lines([]) == []


def test_no_place_completes_a_card_number():
    assert item_id("r-1", 7) == "r-1:item7"
    assert find_card_number("4111111111111111")
    assert not find_card_number(item_id("411111111111111", 1))


def test_what_is_not_done_is_sent_again():
    assert [type(one) for one in in_order(3, {1: 7})] == [OverloadedError, int, OverloadedError]


@pytest.mark.parametrize("given", ["r", "r" * 120, "a:b", "item", ":item", "x:item1y", "x:items1"])
def test_what_an_item_is_named_is_an_id_that_no_request_can_be_given(given):
    assert is_request_id(given)
    check_names_items(given, "request_id")
    for place in (0, MOST - 1):
        named = item_id(given, place)
        assert REQUEST_ID.fullmatch(named)
        assert names_an_item(named)
        assert not is_request_id(named)


@pytest.mark.parametrize("given", ["x:item3", ":item0", "x:item1:item2", "x:item" + "9" * 12])
def test_nobody_gives_a_request_the_name_of_an_item(given):
    assert REQUEST_ID.fullmatch(given)
    assert not is_request_id(given)


def test_an_id_that_is_too_long_for_places_names_no_items():
    assert is_request_id("r" * 121)
    with pytest.raises(InvalidFieldError, match="at most 120 characters"):
        check_names_items("r" * 121, "request_id")
    check_names_items(new_request_id(), "request_id")


async def test_items_that_are_long_to_read_give_way_to_others():
    turns = []

    async def another() -> None:
        while True:
            turns.append(len(read))
            await asyncio.sleep(0)

    read: list[int] = []

    def item() -> int:
        time.sleep(0.006)
        read.append(0)
        return 7

    other = asyncio.create_task(another())
    found = await read_in_turns([item] * 20, seconds=60)
    other.cancel()

    assert found == [7] * 20
    assert turns[:20] == list(range(1, 21))


async def test_what_is_not_read_in_time_is_not_read_at_all():
    def item() -> None:
        time.sleep(0.02)

    found = await read_in_turns([item] * 500, seconds=0.1)

    assert 0 < len(found) < 10


async def test_what_is_wrong_with_an_item_is_raised_for_it_alone():
    def wrong() -> int:
        raise InvalidFieldError("purpose", "is required")

    first, second = await read_in_turns([wrong, lambda: 7], seconds=60)

    assert asked(second) == 7
    with pytest.raises(InvalidFieldError):
        asked(first)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_batch_without_any_time_left_does_nothing_that_takes_some(seconds):
    stuck = Stuck(Batches())

    await stuck.run(seconds=seconds)

    assert stuck.batch.is_over
    assert len(stuck.batch.outcomes) <= 50
    await stuck.end()


async def test_each_has_its_own_outcome():
    async def work(place: int) -> int:
        if place % 3 == 0:
            raise ValueError(str(place))
        return place * 10

    batch = Batch(Batches(), work)
    await batch.run([[place] for place in range(300)])

    assert sorted(batch.outcomes) == list(range(300))
    assert batch.outcomes[1] == 10
    assert isinstance(batch.outcomes[3], ValueError)


async def test_a_line_is_done_in_its_order_and_lines_side_by_side():
    begun: list[int] = []
    going = asyncio.Event()

    async def work(place: int) -> None:
        begun.append(place)
        if place == 2:
            going.set()
        await going.wait()

    await Batch(Batches(), work).run([[0, 3], [1, 4], [2]])

    assert begun[:3] == [0, 1, 2]
    assert sorted(begun[3:]) == [3, 4]


class Stuck:
    """A batch of 500 whose first 50 are done at once, and whose others wait to be let go."""

    def __init__(self, batches: Batches) -> None:
        self.begun: list[int] = []
        self.found_over: list[bool] = []
        self.let_go = asyncio.Event()
        self.all_ended = asyncio.Event()
        self.batch = Batch(batches, self._work)

    async def run(self, seconds: float = 60) -> None:
        await self.batch.run([[place] for place in range(500)], seconds)

    async def end(self) -> None:
        self.let_go.set()
        await self.all_ended.wait()

    async def _work(self, place: int) -> int:
        self.begun.append(place)
        if place >= 50:
            await self.let_go.wait()
            self.found_over.append(self.batch.is_over)
            if len(self.found_over) == len(self.begun) - 50:
                self.all_ended.set()
        return place


async def test_what_is_late_is_not_in_the_answer_and_what_was_not_begun_never_is():
    stuck = Stuck(Batches())

    await stuck.run(seconds=0.2)

    assert sorted(stuck.batch.outcomes) == list(range(50))
    assert len(stuck.begun) == 150
    await stuck.end()
    assert stuck.found_over == [True] * 100
    assert len(stuck.begun) == 150
    assert sorted(stuck.batch.outcomes) == list(range(50))


async def test_a_batch_whose_caller_is_cancelled_is_over_and_begins_nothing_more():
    stuck = Stuck(Batches())
    running = asyncio.create_task(stuck.run())
    await asyncio.sleep(0.05)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert stuck.batch.is_over
    await stuck.end()
    assert stuck.found_over == [True] * 100
    assert len(stuck.begun) == 150


async def test_all_batches_together_do_so_many_items_at_once():
    """The lines of the database work hold more, so that single requests find room."""
    batches = Batches(items_at_once=120)
    busy, other = Stuck(batches), Stuck(batches)
    running = [asyncio.create_task(one.run()) for one in (busy, other)]
    await asyncio.sleep(0.05)

    waiting = sum(len(one.begun) - len(one.batch.outcomes) for one in (busy, other))

    assert waiting == 120
    for one in (busy, other):
        one.let_go.set()
    await asyncio.gather(*running)
    assert [len(one.batch.outcomes) for one in (busy, other)] == [500, 500]


def test_more_batches_than_can_be_held_are_sent_away():
    batches = Batches(most=2)
    with (
        batches.admitted(),
        batches.admitted(),
        pytest.raises(OverloadedError),
        batches.admitted(),
    ):
        pass
    with batches.admitted():
        pass
