"""The same over asyncio. What is sent, how it is read and when it is sent again are decided where the other transport has it."""

import asyncio
import random
import ssl
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx

from payment_token_client.answers import Answer
from payment_token_client.errors import ClientError, ConnectionFailedError
from payment_token_client.operations import Operation
from payment_token_client.retries import Attempts, RetryBudget, RetryPolicy
from payment_token_client.transport import (
    failure_of_transport,
    outcome_of,
    result_of,
    timeout_of,
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
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            verify=tls or ssl.create_default_context(),
            trust_env=False,
        )

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
        attempts = Attempts(self._policy, self._budget, time.monotonic())
        while True:
            outcome = await self._attempt(operation, attempts.time_left(time.monotonic()))
            if isinstance(outcome, Answer):
                return result_of(operation, outcome)
            # Spreads callers in time, guards nothing.
            wait = attempts.wait_after(outcome, time.monotonic(), random.random())  # noqa: S311
            if wait is None:
                outcome.idempotency_key = operation.idempotency_key
                raise outcome
            await asyncio.sleep(wait)

    async def _attempt(
        self, operation: Operation[Result], time_left: float
    ) -> Answer | ClientError:
        try:
            async with asyncio.timeout(time_left):
                response = await self._http.request(
                    operation.method,
                    operation.path,
                    headers=dict(operation.headers),
                    content=operation.body,
                    timeout=timeout_of(self._policy, time_left),
                )
        # What the other side says about our certificate after the handshake comes through anyio as it is.
        except (httpx.RequestError, ssl.SSLError) as error:
            return failure_of_transport(error)
        except TimeoutError:
            return ConnectionFailedError("No answer came in time.")
        return outcome_of(response, datetime.now(UTC))
