"""No call is worked on for ever, and no more calls at a time than can be. What ``api/rest/bounds.py`` is in REST.

A caller that hangs up, or whose deadline passes, ends its call: the library cancels it here. The work is left to end by
itself all the same: a release that is half done could not say afterwards whether its record stands.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from google.protobuf.message import Message

from payment_token.api.rest.bounds import AT_ONCE, DEADLINE_SECONDS
from payment_token.api.rpc.call import Call
from payment_token.domain.errors import DatabaseUnavailableError, OverloadedError


class Bounds:
    def __init__(self, at_once: int = AT_ONCE, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._at_once = at_once
        self._deadline_seconds = deadline_seconds
        self._working: set[asyncio.Task[Message]] = set()

    async def __call__(self, call: Call, work: Coroutine[Any, Any, Message]) -> Message:
        """Raises OverloadedError, and DatabaseUnavailableError at our deadline. At the caller's this is cancelled."""
        if len(self._working) >= self._at_once:
            work.close()
            raise OverloadedError
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait((task,), timeout=self._deadline_seconds)
        finally:
            # Also where the caller has gone.
            call.given_up = not task.done()
        if call.given_up:
            raise DatabaseUnavailableError
        return task.result()

    async def ended(self, within_seconds: float) -> None:
        """Waits for work whose callers have gone."""
        if self._working:
            await asyncio.wait(self._working, timeout=within_seconds)

    def _ended(self, task: asyncio.Task[Message]) -> None:
        self._working.discard(task)
        # Of a call that was given up nobody asks, and asyncio would write the exception's text into the log.
        if not task.cancelled():
            task.exception()
