"""Sends a day at a rate, with a bounded number of requests at once, and notes each answer."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import httpx

from payment_token.cli.fleet.day import Send, Visit
from payment_token.cli.fleet.expectations import Kind

_ROUTE = "/v1/payment-tokens"


@dataclass(frozen=True, slots=True)
class Answer:
    """``code`` is that of the problem. ``status`` 0: none came."""

    kind: Kind
    status: int
    code: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip() if self.status else f"no answer ({self.code})"


@dataclass(slots=True)
class Sender:
    """``rate`` is requests a second; between two there is never less than its part of a second."""

    client: httpx.AsyncClient
    rate: float
    at_once: int
    stopped: asyncio.Event
    advance: Callable[[], None]
    answers: list[Answer] = field(default_factory=list)
    under_way: int = 0  # visits
    _next: float = 0.0
    _tokens: dict[str, str] = field(default_factory=dict)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, visits: Iterator[Visit]) -> None:
        """Until there are no more visits, or it is stopped. What has begun by then is answered."""
        places = asyncio.Semaphore(self.at_once)
        async with asyncio.TaskGroup() as tasks:
            for visit in visits:
                await places.acquire()
                if self.stopped.is_set():
                    return
                self.under_way += 1
                task = tasks.create_task(self._visit(visit))
                task.add_done_callback(lambda _: self._left(places))

    def _left(self, places: asyncio.Semaphore) -> None:
        self.under_way -= 1
        places.release()

    async def _visit(self, visit: Visit) -> None:
        lock: AbstractAsyncContextManager[Any] = self._alone if visit.alone else nullcontext()
        async with lock:
            for send in visit.sends:
                if not await self._turn():
                    return
                self.answers.append(await self._answered(send))
                self.advance()

    async def _turn(self) -> bool:
        """Waits for the next free moment. ``False`` once it is stopped."""
        now = time.monotonic()
        mine = max(now, self._next)
        self._next = mine + 1 / self.rate
        if mine > now:
            await asyncio.sleep(mine - now)
        return not self.stopped.is_set()

    async def _answered(self, send: Send) -> Answer:
        started = time.monotonic()
        try:
            response = await self.client.post(
                _ROUTE, json=send.body, headers={"Idempotency-Key": send.key}
            )
        except httpx.TransportError as error:
            return Answer(send.kind, 0, type(error).__name__, time.monotonic() - started)
        seconds = time.monotonic() - started
        return Answer(send.kind, response.status_code, self._code(send, response), seconds)

    def _code(self, send: Send, response: httpx.Response) -> str:
        try:
            document = response.json()
        except ValueError:
            return "no JSON"
        if not response.is_success:
            return str(document.get("code", "no code"))
        token = document["payment_token"]
        if send.same_as is None:
            self._tokens[send.key] = token
        elif self._tokens.get(send.same_as) != token:
            return "another token"
        return ""
