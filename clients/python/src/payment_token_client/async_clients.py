"""Both sides for asyncio: :class:`Client` and :class:`WorkerClient` with ``await``."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from payment_token_client import batches, operations
from payment_token_client.async_transport import AsyncTransport
from payment_token_client.batches import CreateItem, DecryptItem
from payment_token_client.client import bearer
from payment_token_client.errors import ClientError
from payment_token_client.results import Completion, PaymentToken, Release
from payment_token_client.retries import RetryBudget, RetryPolicy
from payment_token_client.worker import require_https


class AsyncClient(AsyncTransport):
    """As :class:`~payment_token_client.client.Client`."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        tls: ssl.SSLContext | None = None,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        super().__init__(url, headers=bearer(api_key), tls=tls, policy=policy, budget=budget)

    async def create(
        self,
        merchant_id: str,
        encrypted_payload: Mapping[str, Any],
        device_id: str,
        *,
        ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentToken:
        """One token for one idempotency key, however often this is called with it."""
        return await self._perform(
            operations.create(
                merchant_id,
                encrypted_payload,
                device_id,
                ttl_seconds=ttl_seconds,
                metadata=metadata,
                idempotency_key=idempotency_key,
            )
        )

    def create_many(self, items: Iterable[CreateItem]) -> AsyncIterator[PaymentToken | ClientError]:
        """Any number of creates, 500 in a request: what came of each, in their order, with ``async for``."""
        return self._perform_many(batches.creates(items))

    async def get(self, payment_token: str, merchant_id: str | None = None) -> PaymentToken:
        """The masked view. ``merchant_id`` may be left out where the API key names exactly one."""
        return await self._perform(operations.get(payment_token, merchant_id))

    async def delete(self, payment_token: str, merchant_id: str | None = None) -> None:
        """Revokes the token and shreds what is stored. Doing it twice is no error."""
        await self._perform(operations.delete(payment_token, merchant_id))


class AsyncWorkerClient(AsyncTransport):
    """As :class:`~payment_token_client.worker.WorkerClient`."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        require_https(url)
        super().__init__(url, tls=tls, policy=policy, budget=budget)

    async def decrypt(
        self,
        payment_token: str,
        merchant_id: str,
        purpose: str,
        *,
        fields: Sequence[str] = ("pan", "expiry"),
        request_id: str | None = None,
    ) -> Release:
        """Releases ``fields``, each time with an audit record."""
        return await self._perform(
            operations.decrypt(payment_token, merchant_id, purpose, fields, request_id)
        )

    async def complete_authorization(
        self, payment_token: str, merchant_id: str, outcome: str, *, request_id: str | None = None
    ) -> Completion:
        """The token's SAD ends now. Doing it twice is no error."""
        return await self._perform(
            operations.complete_authorization(payment_token, merchant_id, outcome, request_id)
        )

    def decrypt_many(
        self, items: Iterable[DecryptItem], *, request_id: str | None = None
    ) -> AsyncIterator[Release | ClientError]:
        """Any number of releases, 500 in a request: what came of each, in their order, with ``async for``."""
        return self._perform_many(batches.decrypts(items, request_id))
