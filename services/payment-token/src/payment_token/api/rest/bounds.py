"""No request is worked on for ever, and no more requests at a time than can be.

The database bounds its own statements, but a server that is frozen, or a network that swallows packets, bounds nothing:
the answer must leave all the same. What was begun is left to end by itself; its outcome is found out by the retry, under
the same idempotency key. The time that a caller takes to send its body has a bound of its own: it is no outage of ours.
"""

import asyncio
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

_WATCHED = "payment_token.watched"


class Bounded:
    """ASGI middleware around an application.

    At the deadline the answer leaves; the call itself ends when the application does, and counts until then.
    """

    def __init__(
        self, app: ASGIApp, *, at_once: int = AT_ONCE, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._app = app
        self._at_once = at_once
        self._deadline_seconds = deadline_seconds
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._working >= self._at_once:
            await _answer(OverloadedError(), scope, receive, send)
            return
        request = _Watched(scope, receive, send, self._deadline_seconds)
        scope[_WATCHED] = request
        self._working += 1
        try:
            await self._app(scope, request.receive, request.send)
        except Exception:
            # An answer has left already; what became of the work, nobody here can be told.
            if not request.given_up:
                raise
        finally:
            self._working -= 1
            request.end()


def is_given_up(scope: Scope) -> bool:
    """Whether the caller has been told of an outage, so that nothing of the answer reaches it any more."""
    watched = scope.get(_WATCHED)
    return isinstance(watched, _Watched) and watched.given_up


class _Watched:
    """A request with its deadline. A timer costs less than a task for each request, which nearly always is in time."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, deadline_seconds: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._deadline_seconds = deadline_seconds
        self._body_ends_at = time.monotonic() + BODY_SECONDS
        # The task that waits for the body, which has a clock of its own; and when it last was this request's turn to go on.
        self._receiving: asyncio.Task[object] | None = None
        self._body_is_late = False
        self._last_arrival = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(deadline_seconds, self._look)
        self._answering: asyncio.Task[None] | None = None
        self._answer_begun = False
        self.given_up = False

    async def receive(self) -> Message:
        """Raises MalformedRequestError when the body does not arrive in time."""
        self._receiving = asyncio.current_task()
        message = None
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            # Not ours: the server is ending.
            if not self._body_is_late or self._receiving is None or self._receiving.uncancel():
                raise
            self._body_is_late = False
        finally:
            self._receiving = None
            self._last_arrival = time.monotonic()
        if message is None:
            raise MalformedRequestError(
                f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
            )
        return message

    async def send(self, message: Message) -> None:
        if not self.given_up:
            self._answer_begun = True
            await self._send(message)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        receiving = self._receiving
        ends_at = self._body_ends_at if receiving else self._last_arrival + self._deadline_seconds
        left = ends_at - time.monotonic()
        if left > 0:
            self._timer = self._loop.call_later(min(left, self._deadline_seconds), self._look)
        elif receiving is not None:
            self._body_is_late = True
            receiving.cancel()
            self._timer = self._loop.call_later(self._deadline_seconds, self._look)
        elif not self._answer_begun:
            # Once an answer has begun, only the client keeps it from ending.
            self.given_up = True
            self._answering = self._loop.create_task(
                _answer(DatabaseUnavailableError(), self._scope, self._receive, self._send)
            )


async def _answer(error: PaymentTokenError, scope: Scope, receive: Receive, send: Send) -> None:
    note_error_code(scope, error.code)
    await problem_response(Request(scope), error, hints=False)(scope, receive, send)
