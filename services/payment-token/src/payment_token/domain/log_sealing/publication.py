"""A checkpoint on its way to a place outside the database.

Each place goes at its own pace and holds up nobody. A checkpoint vouches for every one before it, so where several wait,
the last one is published.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from payment_token.domain.log_sealing.ports import CheckpointPlace, PlaceUnavailableError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_LAST_SECONDS = 5.0


class Publication:
    """To one place, at most once in ``every_seconds``. For one event loop."""

    def __init__(
        self,
        place: CheckpointPlace,
        every_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self.every_seconds = every_seconds
        self._monotonic = monotonic
        self._note: str | None = None
        self._waits_since: float | None = None
        self._offered = asyncio.Event()

    def offer(self, note: str) -> None:
        if self._waits_since is None:
            self._waits_since = self._monotonic()
        self._note = note
        self._offered.set()

    @property
    def waits_seconds(self) -> float:
        """How long there has been a checkpoint that is not published; 0 when there is none."""
        return 0.0 if self._waits_since is None else self._monotonic() - self._waits_since

    async def run(self) -> None:
        """Publishes what is offered, until it is cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await self._offered.wait()
            if await self._publish():
                pause = _FIRST_PAUSE_SECONDS
                await asyncio.sleep(self.every_seconds)
            else:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def finish(self) -> None:
        """Publishes the last one, if the place takes it within a few seconds."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._publish()
        except TimeoutError:
            logger.error("the last checkpoint is not published", extra={"place": self.place.name})

    async def _publish(self) -> bool:
        note, offered_at = self._note, self._monotonic()
        if note is None:
            return True
        try:
            await self.place.publish(note)
        except PlaceUnavailableError:
            logger.error("a checkpoint is not published", extra={"place": self.place.name})
            return False
        if self._note is note:
            self._note = self._waits_since = None
            self._offered.clear()
        else:
            # Another one came while this one was on its way.
            self._waits_since = offered_at
        return True
