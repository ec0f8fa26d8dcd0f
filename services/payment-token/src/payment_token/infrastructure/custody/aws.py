"""Calls to AWS: deadlines, retries, and what each failure means to us.

boto3 blocks, so calls run on a few threads. Its own retries are kept to one, inside the deadline of a request; after
that :class:`Patience` leaves the key alone for a while.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

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


class AWSRefusalError(Exception):
    """The service understood the call and refuses it: a retry cannot help. ``code`` is the service's own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AWSService:
    """One service, for example ``kms``, in whatever regions its keys are in. For one event loop."""

    def __init__(self, name: str, endpoint_url: str | None) -> None:
        self._name = name
        self._endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=name)
        self._places = asyncio.Semaphore(CALLS_AT_ONCE)
        self._patience: defaultdict[str, Patience] = defaultdict(Patience)

    async def call(self, key_arn: str, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Makes a call about one key.

        Raises AWSRefusalError, KeyCustodianThrottledError, or KeyCustodianUnavailableError when there is no answer
        within the deadline.
        """
        refusal = None
        async with self._patience[key_arn].call():
            try:
                return await self._within_deadline(key_arn, operation, parameters)
            except AWSRefusalError as error:
                refusal = error
        raise refusal

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _within_deadline(
        self, key_arn: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._places:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, partial(self._call_now, key_arn, operation, parameters)
                )
        except TimeoutError:
            logger.warning("no answer in time", extra={"service": self._name})
        raise KeyCustodianUnavailableError

    def _call_now(
        self, key_arn: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]:
        fault: PaymentTokenError | AWSRefusalError
        try:
            answer: Mapping[str, Any] = getattr(self._client(key_arn), operation)(**parameters)
        except ClientError as error:
            fault = self._fault(operation, error)
        except BotoCoreError as error:
            logger.warning(
                "no call to AWS was possible",
                extra={"service": self._name, "fault": type(error).__name__},
            )
            fault = KeyCustodianUnavailableError()
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
        if region not in self._clients:
            # A session of its own: boto3's default session is not safe to share between threads while it is made.
            self._clients[region] = boto3.session.Session().client(
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
        return self._clients[region]


def region_of(key_arn: str) -> str:
    """The region of ``arn:aws:SERVICE:REGION:ACCOUNT:…``."""
    return key_arn.split(":")[_REGION_FIELD]
