"""No request is worked on for ever, and no more requests at a time than can be.

The database bounds its own statements, but a server that is frozen, or a network that swallows packets, bounds nothing:
the answer must leave all the same. What was begun is left to end by itself; its outcome is found out by the retry, under
the same idempotency key. The time that a caller takes to send its body has a bound of its own: it is no outage of ours.
"""

import asyncio
import contextlib
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from payment_token.api.rest.observation import note_error_code
from payment_token.api.rest.problem import problem_response
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    MalformedRequestError,
    OverloadedError,
    PaymentTokenError,
)

DEADLINE_SECONDS = 3.0
BODY_SECONDS = 15.0
AT_ONCE = 500


class Bounded:
    """ASGI middleware around an application."""

    def __init__(
        self, app: ASGIApp, *, at_once: int = AT_ONCE, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._app = app
        self._at_once = at_once
        self._deadline_seconds = deadline_seconds
        self._working: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if len(self._working) >= self._at_once:
            await _answer(OverloadedError(), scope, receive, send)
            return
        answer, body = _Answer(send), _Body(receive)
        task = asyncio.create_task(self._work(scope, body, answer))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        await asyncio.wait({task}, timeout=self._deadline_seconds)
        while (
            not task.done()
            and (left := body.last_arrival + self._deadline_seconds - time.monotonic()) > 0
        ):
            await asyncio.wait({task}, timeout=left)
        if task.done():
            await task
        elif answer.begun:
            # Only the client keeps it from ending now.
            await task
        else:
            answer.abandoned = True
            task.add_done_callback(_drop_outcome)
            await _answer(DatabaseUnavailableError(), scope, receive, send)

    async def _work(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        await self._app(scope, body.receive, answer.send)


class _Body:
    """What a caller sends. ``last_arrival`` is when it last was this request's turn to go on."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ends_at = time.monotonic() + BODY_SECONDS
        self.last_arrival = time.monotonic()

    async def receive(self) -> Message:
        """Raises MalformedRequestError when the body does not arrive in time."""
        # While it waits, the clock that counts is the body's.
        self.last_arrival = self._ends_at
        message = None
        try:
            async with asyncio.timeout(self._ends_at - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            pass
        finally:
            self.last_arrival = time.monotonic()
        if message is None:
            raise MalformedRequestError(
                f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
            )
        return message


class _Answer:
    """What an application sends, until its request is given up."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.abandoned = False

    async def send(self, message: Message) -> None:
        if not self.abandoned:
            self.begun = True
            await self._send(message)


async def _answer(error: PaymentTokenError, scope: Scope, receive: Receive, send: Send) -> None:
    note_error_code(scope, error.code)
    await problem_response(Request(scope), error, hints=False)(scope, receive, send)


def _drop_outcome(task: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
