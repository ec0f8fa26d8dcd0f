"""Client of the Payment Token Service. Begin with :class:`Client` (API key) or :class:`WorkerClient` (certificate)."""

from payment_token_client import errors
from payment_token_client.async_clients import AsyncClient, AsyncWorkerClient
from payment_token_client.batches import CreateItem, DecryptItem
from payment_token_client.client import Client
from payment_token_client.errors import ClientError, ServiceError
from payment_token_client.operations import new_idempotency_key
from payment_token_client.results import (
    Completion,
    MaskedCard,
    PaymentToken,
    Release,
    SensitiveAuthenticationData,
)
from payment_token_client.retries import RetryBudget, RetryPolicy
from payment_token_client.sensitive import CardText
from payment_token_client.worker import WorkerClient, worker_tls

__all__ = [
    "AsyncClient",
    "AsyncWorkerClient",
    "CardText",
    "Client",
    "ClientError",
    "Completion",
    "CreateItem",
    "DecryptItem",
    "MaskedCard",
    "PaymentToken",
    "Release",
    "RetryBudget",
    "RetryPolicy",
    "SensitiveAuthenticationData",
    "ServiceError",
    "WorkerClient",
    "errors",
    "new_idempotency_key",
    "worker_tls",
]
