"""Calls to AWS: deadlines, retries, and what each failure means to us.

boto3 blocks, so calls run on a few threads. Its own retries are kept to one, inside the deadline of a request; after
that :class:`Patience` leaves the key alone for a while. A call that waits for a thread looks again before it begins:
by then an outage may be known.
"""

import asyncio
import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from payment_token.domain.errors import (
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
)
from payment_token.infrastructure.custody.patience import Patience

logger = logging.getLogger(__name__)

CALLS_AT_ONCE = 16
DEADLINE_SECONDS = 2.5

_REGION_FIELD = 3

_THROTTLES = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_MISCONFIGURED = (
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)


class AWSRefusalError(Exception):
    """The service understood the call and refuses it: a retry cannot help. ``code`` is the service's own.

    Or boto3 refuses to make the call at all, for want of credentials; then the code is the name of its error.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AWSService:
    """One service, for example ``kms``, in whatever regions its keys are in. For one event loop."""

    def __init__(self, name: str, endpoint_url: str | None) -> None:
        self._name = name
        self._endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}
        self._making_client = threading.Lock()
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
        fault: PaymentTokenError | AWSRefusalError
        try:
            answer: Mapping[str, Any] = getattr(self._client(key_arn), operation)(**parameters)
        except ClientError as error:
            fault = self._fault(operation, error)
        except Exception as error:  # noqa: BLE001 - see the next line
            # Of an answer that makes no sense botocore raises whatever its parser stumbles over.
            logger.warning(
                "no call to AWS was possible",
                extra={"service": self._name, "fault": type(error).__name__},
            )
            fault = KeyCustodianUnavailableError()
            if isinstance(error, _MISCONFIGURED):
                # A client that found no credentials never looks again.
                self._clients.pop(region_of(key_arn), None)
                fault = AWSRefusalError(type(error).__name__)
        else:
            return answer
        raise fault

    def _fault(self, operation: str, error: ClientError) -> PaymentTokenError | AWSRefusalError:
        # Of the error we keep its code: its message may quote what was sent.
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        logger.warning(
            "AWS refuses a call",
            extra={"service": self._name, "operation": operation, "fault": code},
        )
        if code in _THROTTLES or status == 429:  # noqa: PLR2004 - the HTTP status
            return KeyCustodianThrottledError()
        if status >= 500 or code == "KMSInternalException":  # noqa: PLR2004 - likewise
            return KeyCustodianUnavailableError()
        return AWSRefusalError(code)

    def _client(self, key_arn: str) -> Any:
        region = region_of(key_arn)
        with self._making_client:
            if region not in self._clients:
                self._clients[region] = self._new_client(region)
            return self._clients[region]

    def _new_client(self, region: str) -> Any:
        # A session of its own: boto3's default session is not safe to share between threads while it is made.
        return boto3.session.Session().client(
            self._name,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self._endpoint_url,
            config=Config(
                connect_timeout=1,
                read_timeout=1,
                max_pool_connections=CALLS_AT_ONCE,
                retries={"mode": "standard", "total_max_attempts": 2},
            ),
        )


def answered(answer: Mapping[str, Any], field: str, length: int) -> bytes:
    """A field of an answer. Raises KeyCustodianUnavailableError when it is not there, or not of that many bytes."""
    value = answer.get(field)
    if not isinstance(value, bytes) or len(value) != length:
        raise KeyCustodianUnavailableError
    return value


def region_of(key_arn: str) -> str:
    """The region of ``arn:aws:SERVICE:REGION:ACCOUNT:…``."""
    return key_arn.split(":")[_REGION_FIELD]
