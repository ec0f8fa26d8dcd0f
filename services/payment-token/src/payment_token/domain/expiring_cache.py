"""A cache of secrets, bounded in number and in age, that asks for each thing once however many wait for it."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")

# Ages are spread by a fifth either way, so that a fleet that was warmed up in one second does not fall due in one.
JITTER = 0.2

WIPE_DELAY_SECONDS = 10.0


class ExpiringCache(Generic[Name, Value]):
    """For use from one event loop. ``monotonic`` gives seconds, ``random`` a number from 0 to 1.

    ``wipe`` is called with each value that the cache let go of, some seconds later: whoever was given it may still be
    at work with it, but no request lives that long.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        wipe: Callable[[Value], None],
        *,
        limit: int,
        age_seconds: float,
    ) -> None:
        self._monotonic = monotonic
        self._random = random
        self._wipe = wipe
        self._limit = limit
        self._age_seconds = age_seconds
        self._held: OrderedDict[Name, tuple[Value, float]] = OrderedDict()
        self._being_made: dict[Name, asyncio.Task[Value]] = {}
        self._dropped: deque[tuple[Value, float]] = deque()

    async def get(self, name: Name, make: Callable[[], Awaitable[Value]]) -> Value:
        """What is held, else what ``make`` gives. A failure of ``make`` reaches all who wait for it, and is not kept."""
        held = self._fresh(name)
        if held is not None:
            return held
        task = self._being_made.get(name)
        if task is None:
            # A task of its own: the one who asked first may be cancelled at its deadline, and the others still wait.
            task = asyncio.ensure_future(self._make_and_keep(name, make))
            self._being_made[name] = task
            task.add_done_callback(lambda done: self._made(name, done))
        return await asyncio.shield(task)

    def forget_expired(self) -> None:
        """Lets go of what is past its age, also of what nobody asks for again; called every now and then."""
        now = self._monotonic()
        for name in [name for name, (_, until) in self._held.items() if now >= until]:
            self._drop(name)
        while self._dropped and now >= self._dropped[0][1] + WIPE_DELAY_SECONDS:
            self._wipe(self._dropped.popleft()[0])

    def _fresh(self, name: Name) -> Value | None:
        entry = self._held.get(name)
        if entry is None:
            return None
        if self._monotonic() >= entry[1]:
            self._drop(name)
            return None
        self._held.move_to_end(name)
        return entry[0]

    async def _make_and_keep(self, name: Name, make: Callable[[], Awaitable[Value]]) -> Value:
        value = await make()
        spread = 1 - JITTER + 2 * JITTER * self._random()
        self._held[name] = (value, self._monotonic() + self._age_seconds * spread)
        while len(self._held) > self._limit:
            self._drop(next(iter(self._held)))
        return value

    def _made(self, name: Name, task: asyncio.Task[Value]) -> None:
        del self._being_made[name]
        if not task.cancelled():
            # Looked at here, because everybody who waited for it may be gone.
            task.exception()

    def _drop(self, name: Name) -> None:
        value, _ = self._held.pop(name)
        self._dropped.append((value, self._monotonic()))
