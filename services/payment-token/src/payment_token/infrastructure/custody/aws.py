"""Calls to AWS, within the deadline of a request.

boto3 blocks, so calls run on a few threads. After a failure :class:`Patience` leaves the key alone for a while. A call
that waits for a thread looks again before it begins: by then an outage may be known.
"""

import asyncio
import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from payment_token.domain.errors import KeyCustodianUnavailableError
from payment_token.infrastructure.custody.aws_refusal import AWSRefusalError
from payment_token.infrastructure.custody.patience import Patience

logger = logging.getLogger(__name__)

CALLS_AT_ONCE = 16
DEADLINE_SECONDS = 2.5

_REGION_FIELD = 3


class _Client(Protocol):
    """What AWSClient is to this module, which must not load it to say so."""

    def call(
        self, region: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]: ...


class AWSService:
    """One service, for example ``kms``, in whatever regions its keys are in. For one event loop."""

    def __init__(self, name: str, endpoint_url: str | None) -> None:
        self._name = name
        self._endpoint_url = endpoint_url
        self._client: _Client | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=name)
        self._places = asyncio.Semaphore(CALLS_AT_ONCE)
        self._patience: defaultdict[str, Patience] = defaultdict(Patience)

    async def call(self, key_arn: str, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Makes a call about one key.

        Raises AWSRefusalError, KeyCustodianThrottledError, or KeyCustodianUnavailableError when there is no answer
        within the deadline.
        """
        patience, refusal = self._patience[key_arn], None
        patience.check()
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        await self._take_place(deadline)
        try:
            return await self._call(patience, deadline, key_arn, operation, parameters)
        except AWSRefusalError as error:
            refusal = error
        raise refusal

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take_place(self, deadline: float) -> None:
        in_time = False
        try:
            async with asyncio.timeout_at(deadline):
                in_time = await self._places.acquire()
        except TimeoutError:
            pass
        if not in_time:
            raise KeyCustodianUnavailableError

    async def _call(
        self,
        patience: Patience,
        deadline: float,
        key_arn: str,
        operation: str,
        parameters: Mapping[str, object],
    ) -> Mapping[str, Any]:
        """Holds a place, and gives it back when its thread is free again, which may be after the deadline."""
        loop, call = asyncio.get_running_loop(), None
        try:
            async with patience.call():
                call = self._threads.submit(self._call_now, key_arn, operation, parameters)
                call.add_done_callback(lambda _: self._free_place(loop))
                return await self._answer(call, deadline)
        finally:
            if call is None:
                self._places.release()

    async def _answer(self, call: Future[Mapping[str, Any]], deadline: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.wrap_future(call)
        except TimeoutError:
            logger.warning("no answer in time", extra={"service": self._name})
        raise KeyCustodianUnavailableError

    def _free_place(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop is closed when a call outlives the process's work.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._places.release)

    def _call_now(
        self, key_arn: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]:
        return self._opened().call(region_of(key_arn), operation, parameters)

    def _opened(self) -> _Client:
        # boto3 takes longer to load than most commands to work, and most deployments have no key at AWS. On a thread
        # its first use keeps no other request waiting.
        from payment_token.infrastructure.custody.aws_client import AWSClient

        with self._opening:
            if self._client is None:
                self._client = AWSClient(self._name, self._endpoint_url, CALLS_AT_ONCE)
            return self._client


def answered(answer: Mapping[str, Any], field: str, length: int) -> bytes:
    """A field of an answer. Raises KeyCustodianUnavailableError when it is not there, or not of that many bytes."""
    value = answer.get(field)
    if not isinstance(value, bytes) or len(value) != length:
        raise KeyCustodianUnavailableError
    return value


def region_of(key_arn: str) -> str:
    """The region of ``arn:aws:SERVICE:REGION:ACCOUNT:…``."""
    return key_arn.split(":")[_REGION_FIELD]
