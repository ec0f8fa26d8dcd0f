"""HTTP, with httpx: one operation over all its attempts."""

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from payment_token_client import exchanges
from payment_token_client.answers import Answer, failure_of
from payment_token_client.batches import Batch
from payment_token_client.errors import (
    ClientError,
    ConnectionFailedError,
    TLSRefusedError,
    UnexpectedAnswerError,
)
from payment_token_client.exchanges import Exchange
from payment_token_client.operations import Operation
from payment_token_client.retries import RetryBudget, RetryPolicy

Result = TypeVar("Result")


class Transport:
    """Keeps connections open between operations, and may be shared by threads. Close it, or use it in ``with``.

    Proxies of the environment are not used and redirects are not followed: neither may see a key or card data.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self._policy = policy or RetryPolicy()
        self._budget = budget or RetryBudget(now=time.monotonic())
        self._http = httpx.Client(**options_of(url, headers, tls))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _perform(self, operation: Operation[Result]) -> Result:
        """Raises ClientError, the last failure, once there is no reason or no time to try again."""
        return self._driven(exchanges.single(operation, self._policy, self._budget))

    def _perform_many(self, batches: Iterable[Batch[Result]]) -> Iterator[Result | ClientError]:
        for batch in batches:
            yield from self._driven(exchanges.batch(batch, self._policy, self._budget))

    def _driven(self, exchange: Exchange[Result]) -> Result:
        send = next(exchange)
        while True:
            time.sleep(send.wait)
            try:
                send = exchange.send(self._attempt(send.operation, send.until))
            except StopIteration as ended:
                result: Result = ended.value
                return result

    def _attempt(self, operation: Operation[Result], until: float) -> Answer | ClientError:
        try:
            response = self._http.request(**request_of(operation, self._policy, until))
        except httpx.RequestError as error:
            return failure_of_transport(error)
        return outcome_of(response, datetime.now(UTC))


def options_of(
    url: str, headers: Mapping[str, str] | None, tls: ssl.SSLContext | None
) -> dict[str, Any]:
    """Of either client of httpx. Proxies of the environment are not used: none may see a key or card data."""
    return {
        "base_url": url,
        "headers": headers,
        "verify": tls or ssl.create_default_context(),
        "trust_env": False,
    }


def request_of(operation: Operation[Any], policy: RetryPolicy, until: float) -> dict[str, Any]:
    """What httpx is asked for."""
    return {
        "method": operation.method,
        "url": operation.path,
        "headers": dict(operation.headers),
        "content": operation.body,
        "timeout": timeout_of(policy, until - time.monotonic()),
    }


def outcome_of(response: httpx.Response, now: datetime) -> Answer | ClientError:
    headers = {name.lower(): value for name, value in response.headers.items()}
    answer = Answer(response.status_code, headers, response.content)
    return failure_of(answer, now) or answer


def failure_of_transport(error: httpx.RequestError | ssl.SSLError) -> ClientError:
    """Whether the connection broke, or a certificate was refused, which no retry mends."""
    if isinstance(error, httpx.DecodingError):
        return UnexpectedAnswerError("The answer could not be decoded.")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError
        ):
            return TLSRefusedError(f"TLS failed: {cause.reason or 'no reason given'}")
        cause = cause.__cause__ or cause.__context__
    return ConnectionFailedError(f"No answer came: {type(error).__name__}.")


def timeout_of(policy: RetryPolicy, time_left: float) -> httpx.Timeout:
    """No step of an attempt may take more than what is left of the whole."""
    # A wait that overslept leaves less than nothing, which no socket takes.
    left = max(0.001, time_left)
    connect, read = min(policy.connect, left), min(policy.read, left)
    return httpx.Timeout(connect=connect, read=read, write=read, pool=connect)
