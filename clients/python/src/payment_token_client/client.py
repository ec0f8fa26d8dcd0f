"""The public side, for those who hold an API key."""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from payment_token_client import batches, operations
from payment_token_client.batches import CreateItem
from payment_token_client.errors import ClientError
from payment_token_client.results import PaymentToken
from payment_token_client.retries import RetryBudget, RetryPolicy
from payment_token_client.transport import Transport


class Client(Transport):
    """Makes, reads and deletes the payment tokens of a merchant.

    ``tls`` is for a private authority; by default the system's are trusted. Every method raises a subclass of
    :class:`~payment_token_client.errors.ClientError`.
    """

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

    def create(
        self,
        merchant_id: str,
        encrypted_payload: Mapping[str, Any],
        device_id: str,
        *,
        ttl_seconds: int | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentToken:
        """One token for one idempotency key, however often this is called with it.

        Without a key one is made up; it is on the result, and on the error. To survive a crash of your own, make it with
        :func:`~payment_token_client.operations.new_idempotency_key` and store it first.
        """
        return self._perform(
            operations.create(
                merchant_id,
                encrypted_payload,
                device_id,
                ttl_seconds=ttl_seconds,
                metadata=metadata,
                idempotency_key=idempotency_key,
            )
        )

    def create_many(self, items: Iterable[CreateItem]) -> Iterator[PaymentToken | ClientError]:
        """Any number of creates, 500 in a request: what came of each, in their order.

        Requests are sent as the results are asked for, and none fails the rest: an item that could not be done is its error,
        with the key to send it under again. ``RetryPolicy`` holds for each request with what is sent again of it.
        """
        return self._perform_many(batches.creates(items))

    def get(self, payment_token: str, merchant_id: str | None = None) -> PaymentToken:
        """The masked view. ``merchant_id`` may be left out where the API key names exactly one."""
        return self._perform(operations.get(payment_token, merchant_id))

    def delete(self, payment_token: str, merchant_id: str | None = None) -> None:
        """Revokes the token and shreds what is stored. Doing it twice is no error."""
        self._perform(operations.delete(payment_token, merchant_id))


def bearer(api_key: str) -> dict[str, str]:
    """Raises ValueError for a key that no header can carry, without showing it."""
    if not operations.VISIBLE_ASCII.fullmatch(api_key):
        raise ValueError("an API key is 1 to 255 visible ASCII characters")
    return {"Authorization": f"Bearer {api_key}"}
