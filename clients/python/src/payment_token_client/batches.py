"""Many creates or releases in few requests: how items are written, cut into batches, and how results are read."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from payment_token_client.answers import Answer, failure_in
from payment_token_client.errors import ClientError
from payment_token_client.operations import (
    VISIBLE_ASCII,
    Operation,
    create_body,
    decrypt_body,
    made_up,
    new_idempotency_key,
    to_json,
)
from payment_token_client.results import PaymentToken, Release

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

MOST_ITEMS = 500
_CREATE_BYTES = 8 * 1024 * 1024
_DECRYPT_BYTES = 1024 * 1024
_AROUND = (b'{"items":[', b"]}")


@dataclass(frozen=True, slots=True)
class CreateItem:
    """One create of many. Its key is made with it, so that it can be stored before anything is sent.

    Raises ValueError for a key that the service would not take.

    >>> len(CreateItem("m_1", {}, "T-1").idempotency_key)
    32
    """

    merchant_id: str
    encrypted_payload: Mapping[str, Any] = field(repr=False)
    device_id: str
    ttl_seconds: int | None = None
    metadata: Mapping[str, str] | None = field(default=None, repr=False)
    idempotency_key: str = field(default_factory=new_idempotency_key)

    def __post_init__(self) -> None:
        if not VISIBLE_ASCII.fullmatch(self.idempotency_key):
            raise ValueError("an idempotency key is 1 to 255 visible ASCII characters")


@dataclass(frozen=True, slots=True)
class DecryptItem:
    """One release of many."""

    payment_token: str
    merchant_id: str
    purpose: str
    fields: Sequence[str] = ("pan", "expiry")


@dataclass(frozen=True, slots=True)
class BatchItem(Generic[Result_co]):
    """``body`` is its JSON, the same each time it is sent. ``read`` makes its result of the ``body`` of the answer's."""

    body: bytes = field(repr=False)
    read: Callable[[Mapping[str, Any]], Result_co] = field(repr=False)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch(Generic[Result]):
    """What goes in one request at first. ``headers`` are made for each request of it."""

    path: str
    items: Sequence[BatchItem[Result]]
    headers: Callable[[], Mapping[str, str]] = field(repr=False)

    def operation(
        self, items: Sequence[BatchItem[Result]]
    ) -> Operation[list[Result | ClientError]]:
        """Of all items, or of those that are left of them."""
        opening, closing = _AROUND
        return Operation(
            "POST",
            self.path,
            self.headers(),
            opening + b",".join(item.body for item in items) + closing,
            lambda answer: _results(items, answer),
        )


def creates(items: Iterable[CreateItem]) -> Iterator[Batch[PaymentToken]]:
    written = map(_create, items)
    for some in _cut(written, _CREATE_BYTES):
        yield Batch("/v1/payment-tokens:batch", some, lambda: {"Content-Type": "application/json"})


def decrypts(items: Iterable[DecryptItem], request_id: str | None) -> Iterator[Batch[Release]]:
    """Each request has an id of its own, so that no two of its items share one.

    Raises ValueError for a request id that no header can carry.
    """
    whole = made_up() if request_id is None else request_id
    if not VISIBLE_ASCII.fullmatch(whole):
        raise ValueError("a request id is visible ASCII characters")
    number = itertools.count()

    def headers() -> dict[str, str]:
        return {"Content-Type": "application/json", "X-Request-ID": f"{whole}:batch{next(number)}"}

    return (
        Batch("/internal/v1/decrypt:batch", some, headers)
        for some in _cut(map(_decrypt, items), _DECRYPT_BYTES)
    )


def _cut(items: Iterable[BatchItem[Result]], most_bytes: int) -> Iterator[list[BatchItem[Result]]]:
    """As many in a batch as the service takes. What is too large for any goes alone, and the service says so.

    >>> item = BatchItem(b"1234", dict)
    >>> [len(some) for some in _cut([item] * 7, most_bytes=32)]
    [4, 3]
    """
    around = sum(map(len, _AROUND))
    batch, length = list[BatchItem[Result]](), around
    for item in items:
        if batch and (len(batch) == MOST_ITEMS or length + len(item.body) + 1 > most_bytes):
            yield batch
            batch, length = [], around
        batch.append(item)
        length += len(item.body) + 1
    if batch:
        yield batch


def _create(item: CreateItem) -> BatchItem[PaymentToken]:
    body = create_body(
        item.merchant_id, item.encrypted_payload, item.device_id, item.ttl_seconds, item.metadata
    )

    def read(result: Mapping[str, Any]) -> PaymentToken:
        replayed = result.get("idempotency_replayed") is True
        return PaymentToken.of(result["body"], item.idempotency_key, replayed=replayed)

    key = item.idempotency_key
    return BatchItem(to_json({"idempotency_key": key} | body), read, key)


def _decrypt(item: DecryptItem) -> BatchItem[Release]:
    body = decrypt_body(item.payment_token, item.merchant_id, item.purpose, item.fields)
    return BatchItem(to_json(body), lambda result: Release.of(result["body"]))


def _results(items: Sequence[BatchItem[Result]], answer: Answer) -> list[Result | ClientError]:
    """Raises ValueError and its like where the answer is none to these items."""
    results = answer.document()["results"]
    return [_result(item, result) for item, result in zip(items, results, strict=True)]


def _result(item: BatchItem[Result], result: Mapping[str, Any]) -> Result | ClientError:
    if "problem" not in result:
        return item.read(result)
    problem = result["problem"]
    return failure_in(problem, result["status"], _seconds(problem.get("retry_after_seconds")))


def _seconds(value: object) -> float | None:
    """None where it says nothing, or nonsense."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(0.0, float(value))
