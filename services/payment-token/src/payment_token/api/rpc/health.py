"""``grpc.health.v1``: what ``/readyz`` is in REST, for the whole listener and for each of its services alike."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from payment_token.api.rest.bounds import DEADLINE_SECONDS
from payment_token.api.rest.operations import Readiness

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 1.0
_WATCH_SECONDS = 5.0
_WATCHERS = 100

_Response = health_pb2.HealthCheckResponse
_Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]


class Health(health_pb2_grpc.HealthServicer):
    """Callers need no key, so however many ask, readiness is found out once a second."""

    def __init__(self, services: Collection[str], readiness: Readiness) -> None:
        self._services = frozenset(services) | {""}
        self._readiness = readiness
        self._ending = asyncio.Event()
        self._finding = asyncio.Lock()
        self._asking: asyncio.Future[dict[str, str]] | None = None
        self._found: int = _Response.UNKNOWN
        self._found_at = -_FRESH_SECONDS
        self._watchers = 0

    async def Check(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: _Context,
    ) -> _Response:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return _Response(status=await self._status())

    async def Watch(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: _Context,
    ) -> AsyncIterator[_Response]:
        if self._watchers >= _WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many are watching.")
        self._watchers += 1
        try:
            async for status in self._changes(request.service):
                yield _Response(status=status)
        finally:
            self._watchers -= 1

    def end(self) -> None:
        """Says so to whoever asks, and ends the watches: they would hold up the end of the listener."""
        self._ending.set()

    async def _changes(self, service: str) -> AsyncIterator[int]:
        said = None
        while True:
            status = (
                await self._status() if service in self._services else _Response.SERVICE_UNKNOWN
            )
            if status != said:
                yield status
                said = status
            if self._ending.is_set():
                return
            try:
                await asyncio.wait_for(self._ending.wait(), _WATCH_SECONDS)
            except TimeoutError:
                continue

    async def _status(self) -> int:
        if self._ending.is_set():
            return _Response.NOT_SERVING
        async with self._finding:
            if time.monotonic() - self._found_at >= _FRESH_SECONDS:
                self._found = await self._find_out()
                self._found_at = time.monotonic()
        return self._found

    async def _find_out(self) -> int:
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._readiness())
        done, _ = await asyncio.wait((self._asking,), timeout=DEADLINE_SECONDS)
        if not done:
            # The database may be frozen. Whoever asks next waits for the same answer.
            return _Response.NOT_SERVING
        asked, self._asking = self._asking, None
        try:
            failing = asked.result()
        except Exception as error:
            # The library would tell the caller its text.
            logger.error("defect", exc_info=error)
            return _Response.NOT_SERVING
        return _Response.NOT_SERVING if failing else _Response.SERVING
