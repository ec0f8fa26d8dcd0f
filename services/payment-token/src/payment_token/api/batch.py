"""Many requests in one call: each has an outcome of its own, and the answer has them in the order of the requests.

They run side by side, so that they share statements and commits; of several lines each runs in its order. At the deadline
the answer leaves with what is done. What was begun ends by itself, and finds the batch to be over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

MOST = 500
SECONDS = 2.5
"""Some less than a request has, so that what is done can still be answered."""

# As many as one statement takes; so a few batches at once do not fill the lines in which single requests wait.
_AT_ONCE = 100

Outcome = TypeVar("Outcome")

# The event loop itself keeps no task alive.
_ending: set[asyncio.Task[None]] = set()


class Batch(Generic[Outcome]):
    def __init__(self, work: Callable[[int], Awaitable[Outcome]]) -> None:
        """``work`` does the request of that place in the batch."""
        self._work = work
        self._done: dict[int, Outcome | Exception] = {}
        self.is_over = False
        """Nothing that ends from now on is part of the answer."""

    async def run(
        self, lines: Sequence[Sequence[int]], seconds: float = SECONDS
    ) -> dict[int, Outcome | Exception]:
        """Of each place its outcome, or what its work raised. What is not done in time is not there."""
        waiting = iter(lines)
        tasks = [asyncio.create_task(self._take(waiting)) for _ in range(min(_AT_ONCE, len(lines)))]
        for task in tasks:
            _ending.add(task)
            task.add_done_callback(_ending.discard)
        await asyncio.wait(tasks, timeout=seconds)
        self.is_over = True
        return dict(self._done)

    async def _take(self, waiting: Iterable[Sequence[int]]) -> None:
        for line in waiting:
            for place in line:
                if self.is_over:
                    return
                try:
                    self._done[place] = await self._work(place)
                # It is the outcome of this one, and fails no other.
                except Exception as error:  # noqa: BLE001
                    self._done[place] = error


def in_lines(keys: Iterable[object]) -> list[list[int]]:
    """Places with the same key are one line: the second is done once the first is. ``None`` is a line by itself."""
    lines: dict[object, list[int]] = {}
    for place, key in enumerate(keys):
        lines.setdefault(("alone", place) if key is None else key, []).append(place)
    return list(lines.values())
