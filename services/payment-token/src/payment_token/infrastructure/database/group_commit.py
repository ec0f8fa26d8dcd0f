"""Requests that arrive together share a statement and a commit, and each still gets its own outcome.

Round trips and commits are what a busy database spends its time on. While one batch is on its way, whatever arrives
waits for the next: an idle service sends a request at once, a busy one fills its batches, and nobody waits for a clock.

A batch decides what is plain for each of its items. What is not (a key that somebody else holds, a terminal that was
never seen) it leaves undecided, and when the database refuses a batch, all of it is: each undecided item then has a
transaction to itself, which does not hold up those who come after. So one poisoned item costs its neighbours a round
trip, never their outcome.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Generic, Literal, TypeVar

from payment_token.domain.errors import OverloadedError
from payment_token.infrastructure.database.faults import BatchRefusedError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Undecided(Enum):
    """The outcome of an item that must be looked at by itself."""

    UNDECIDED = "undecided"


UNDECIDED: Literal[Undecided.UNDECIDED] = Undecided.UNDECIDED

MOST = 100
WAITING = 500


class GroupCommit(Generic[Item, Outcome]):
    """For one event loop.

    ``together`` does a batch in one transaction and returns an outcome for each item in order, which is ``UNDECIDED``
    where the item must be done alone; it raises BatchRefusedError when the database took back the whole of it.
    ``alone`` does one item in a transaction of its own. ``lanes`` batches are on their way at once, each of at most
    ``most`` items; ``waiting`` more may wait.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Undecided]]],
        alone: Callable[[Item], Awaitable[Outcome]],
        *,
        lanes: int = 1,
        most: int = MOST,
        waiting: int = WAITING,
    ) -> None:
        self._together = together
        self._alone = alone
        self._idle_lanes = lanes
        self._most = most
        self._limit = waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._at_work: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Outcome:
        """The item's own outcome, once it is durable. Raises OverloadedError when too many wait, and what its work raises."""
        if len(self._waiting) >= self._limit:
            raise OverloadedError
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((item, outcome))
        if self._idle_lanes:
            self._idle_lanes -= 1
            self._start(self._lane())
        return await outcome

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        # The loop itself keeps no task alive.
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _lane(self) -> None:
        try:
            while self._waiting:
                # Whoever is ready to join does so first.
                await asyncio.sleep(0)
                await self._settle(self._next_batch())
        finally:
            self._idle_lanes += 1

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        batch: list[tuple[Item, asyncio.Future[Outcome]]] = []
        while self._waiting and len(batch) < self._most:
            item, outcome = self._waiting.popleft()
            # Whoever waited for it may have been given up at its deadline; what was not begun is not begun any more.
            if not outcome.done():
                batch.append((item, outcome))
        return batch

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._together([item for item, _ in batch])
        except BatchRefusedError:
            outcomes = [UNDECIDED] * len(batch)
        except Exception as error:  # noqa: BLE001 - it goes to those who wait
            for _, waiting in batch:
                # One for each: an error that is raised in several places collects the frames of all of them.
                _fail(waiting, copy.copy(error).with_traceback(None))
            return
        for (item, waiting), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Undecided):
                self._start(self._settle_alone(item, waiting))
            elif not waiting.done():
                waiting.set_result(outcome)

    async def _settle_alone(self, item: Item, waiting: "asyncio.Future[Outcome]") -> None:
        try:
            outcome = await self._alone(item)
        except Exception as error:  # noqa: BLE001 - it goes to the one who waits
            _fail(waiting, error)
        else:
            if not waiting.done():
                waiting.set_result(outcome)


def _fail(waiting: "asyncio.Future[Outcome]", error: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(error)
