"""Many requests in one call: each has an outcome of its own, and the answer has them in the order of the requests.

They run side by side, so that they share statements and commits; of several lines each runs in its order. At the deadline
the answer leaves with what is done. What was begun ends by itself, and finds the batch to be over.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from payment_token.domain.errors import InvalidFieldError, OverloadedError, PaymentTokenError

MOST = 500
SECONDS = 2.5
"""Some less than a request has, so that what is done can still be answered."""

# A body may have megabytes, and is in memory with all that was read from it.
_BATCHES = 16

# Of one batch, as many as one statement takes; of all, some less than the lines hold in which single requests wait too.
_AT_ONCE = 100
_AT_ONCE_OF_ALL = 400

# For so long the items of a batch are read without giving way to others.
_TURN_SECONDS = 0.005

# A request id has 128 characters, and ``:item499`` takes eight of them.
_LONGEST_ID = 120
_ITEM_ID = re.compile(r":item[0-9]+\Z")

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")

# The event loop itself keeps no task alive.
_ending: set[asyncio.Task[None]] = set()


class Batches:
    """What the batches of one listener may do at once, all together."""

    def __init__(
        self,
        note: Callable[[str], None] = lambda _: None,
        *,
        most: int = _BATCHES,
        items_at_once: int = _AT_ONCE_OF_ALL,
    ) -> None:
        """``note`` hears of each item that was worked on: "ok", or the code of its error."""
        self.note = note
        self._left = most
        self.items = asyncio.Semaphore(items_at_once)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One batch more, from before anything of it is read. Raises OverloadedError."""
        if not self._left:
            raise OverloadedError
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


class Batch(Generic[Outcome]):
    def __init__(self, batches: Batches, work: Callable[[int], Awaitable[Outcome]]) -> None:
        """``work`` does the request of that place in the batch."""
        self._batches = batches
        self._work = work
        self._done: dict[int, Outcome | Exception] = {}
        self.is_over = False
        """Nothing that ends from now on is part of the answer."""

    @property
    def outcomes(self) -> Mapping[int, Outcome | Exception]:
        """Of each place what came of it, or what its work raised. What is not done is not there."""
        return self._done

    async def run(self, lines: Sequence[Sequence[int]], seconds: float = SECONDS) -> None:
        """Until all are done, or the time is up, or whoever waits for the answer is cancelled."""
        waiting = iter(lines)
        tasks = [asyncio.create_task(self._take(waiting)) for _ in range(min(_AT_ONCE, len(lines)))]
        for task in tasks:
            _ending.add(task)
            task.add_done_callback(_ending.discard)
        try:
            await asyncio.wait(tasks, timeout=max(0.0, seconds))
        finally:
            self.is_over = True

    async def _take(self, waiting: Iterable[Sequence[int]]) -> None:
        for line in waiting:
            for place in line:
                async with self._batches.items:
                    if self.is_over:
                        return
                    await self._settle(place)

    async def _settle(self, place: int) -> None:
        outcome: Outcome | Exception
        try:
            outcome = await self._work(place)
        # It is the outcome of this one, and fails no other.
        except Exception as error:  # noqa: BLE001
            outcome = error
        if not self.is_over:
            self._done[place] = outcome
        self._batches.note(_code_of(outcome))


def _code_of(outcome: object) -> str:
    if isinstance(outcome, PaymentTokenError):
        return outcome.code
    return "internal_error" if isinstance(outcome, Exception) else "ok"


async def read_in_turns(
    items: Iterable[Callable[[], Request]], seconds: float
) -> list[Request | Exception]:
    """What each item asks for, or what is wrong with it; of those that the time allows.

    A batch of items that are all wrong waits for nothing, and would keep the event loop from everybody else for as long as
    it takes to find that out.
    """
    found: list[Request | Exception] = []
    now = time.monotonic()
    turn_ends_at, ends_at = now + _TURN_SECONDS, now + seconds
    for item in items:
        found.append(_read(item))
        if time.monotonic() > turn_ends_at:
            await asyncio.sleep(0)
            turn_ends_at = time.monotonic() + _TURN_SECONDS
            if turn_ends_at > ends_at:
                break
    return found


def _read(item: Callable[[], Request]) -> Request | Exception:
    try:
        return item()
    # It is the outcome of this one, and fails no other.
    except Exception as error:  # noqa: BLE001
        return error


def asked(read: Request | Exception) -> Request:
    """Raises what was wrong with the item."""
    if isinstance(read, Exception):
        raise read
    return read


def in_lines(keys: Iterable[object]) -> list[list[int]]:
    """Places with the same key are one line: the second is done once the first is. ``None`` is a line by itself."""
    lines: dict[object, list[int]] = {}
    for place, key in enumerate(keys):
        lines.setdefault(("alone", place) if key is None else key, []).append(place)
    return list(lines.values())


def in_order(
    count: int, outcomes: Mapping[int, Outcome | Exception]
) -> Iterator[Outcome | Exception]:
    """Of each place what came of it: what is not there was not done in time."""
    late = OverloadedError("The batch took too long, and this item was not done. Send it again.")
    return (outcomes.get(place, late) for place in range(count))


def item_id(request_id: str, place: int) -> str:
    """What tells the items of a batch apart: the id of its request, and the place of the item from 0 on.

    Letters stand between: no digits of the one complete those of the other to a card number.
    """
    return f"{request_id}:item{place}"


def names_an_item(request_id: str) -> bool:
    """Nobody may give such an id to a request: its record would look like that of an item of another one."""
    return _ITEM_ID.search(request_id) is not None


def check_names_items(request_id: str, field: str) -> None:
    """Raises InvalidFieldError for the id of a batch that leaves no room for the places of its items."""
    if len(request_id) > _LONGEST_ID:
        raise InvalidFieldError(
            field, f"must have at most {_LONGEST_ID} characters: a batch names its items after it"
        )
