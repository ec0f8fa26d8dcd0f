"""The same over asyncio. What is sent, how it is read and when it is sent again are decided where the other transport has it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx

from payment_token_client import exchanges
from payment_token_client.answers import Answer
from payment_token_client.batches import Batch
from payment_token_client.errors import ClientError, ConnectionFailedError
from payment_token_client.exchanges import Exchange
from payment_token_client.operations import Operation
from payment_token_client.retries import RetryBudget, RetryPolicy
from payment_token_client.transport import (
    failure_of_transport,
    options_of,
    outcome_of,
    request_of,
)

Result = TypeVar("Result")


class AsyncTransport:
    """Keeps connections open between operations, for the tasks of one event loop. ``total`` of the policy holds exactly.

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
        self._http = httpx.AsyncClient(**options_of(url, headers, tls))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _perform(self, operation: Operation[Result]) -> Result:
        """Raises ClientError, the last failure, once there is no reason or no time to try again."""
        return await self._driven(exchanges.single(operation, self._policy, self._budget))

    async def _perform_many(
        self, batches: Iterable[Batch[Result]]
    ) -> AsyncIterator[Result | ClientError]:
        for batch in batches:
            for outcome in await self._driven(exchanges.batch(batch, self._policy, self._budget)):
                yield outcome

    async def _driven(self, exchange: Exchange[Result]) -> Result:
        send = next(exchange)
        while True:
            await asyncio.sleep(send.wait)
            try:
                send = exchange.send(await self._attempt(send.operation, send.until))
            except StopIteration as ended:
                result: Result = ended.value
                return result

    async def _attempt(self, operation: Operation[Result], until: float) -> Answer | ClientError:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                response = await self._http.request(**request_of(operation, self._policy, until))
        # What the other side says about our certificate after the handshake comes through anyio as it is.
        except (httpx.RequestError, ssl.SSLError) as error:
            return failure_of_transport(error)
        except TimeoutError:
            return ConnectionFailedError("No answer came in time.")
        return outcome_of(response, datetime.now(UTC))
