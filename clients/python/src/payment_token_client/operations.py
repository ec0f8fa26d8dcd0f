"""What goes over the wire and how it is read, without any input or output."""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from payment_token_client.answers import Answer
from payment_token_client.errors import TokenNotFoundError
from payment_token_client.results import Completion, PaymentToken, Release

Result = TypeVar("Result")

VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

_TOKEN = re.compile(r"pt_[A-Za-z0-9_-]{1,128}")
_LETTERS = "bcdfghjkmnpqrstvwxz"
_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Operation(Generic[Result]):
    """One request, whose bytes are the same each time it is sent, and the reading of its answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)
    read: Callable[[Answer], Result] = field(repr=False)
    idempotency_key: str | None = None


def new_idempotency_key() -> str:
    """One to store beside the payment before the create is sent, so that it is known whatever happens then."""
    return made_up()


def made_up() -> str:
    """136 random bits, without digits: some identifiers of hexadecimal digits look like a card number, and are refused."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def create(
    merchant_id: str,
    encrypted_payload: Mapping[str, Any],
    device_id: str,
    *,
    ttl_seconds: int | None,
    metadata: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> Operation[PaymentToken]:
    """Without a key one is made up. Raises ValueError for a key that no header can carry.

    >>> operation = create("m_1", {}, "T-1", ttl_seconds=60, metadata=None, idempotency_key="k-1")
    >>> operation.body
    b'{"merchant_id":"m_1","device_id":"T-1","encrypted_payload":{},"ttl_seconds":60}'
    """
    key = new_idempotency_key() if idempotency_key is None else idempotency_key
    if not VISIBLE_ASCII.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 255 visible ASCII characters")
    body = create_body(merchant_id, encrypted_payload, device_id, ttl_seconds, metadata)

    def read(answer: Answer) -> PaymentToken:
        replayed = answer.header("Idempotency-Replayed") == "true"
        return PaymentToken.of(answer.document(), key, replayed=replayed)

    return Operation(
        "POST",
        "/v1/payment-tokens",
        {"Content-Type": "application/json", "Idempotency-Key": key},
        to_json(body),
        read,
        key,
    )


def create_body(
    merchant_id: str,
    encrypted_payload: Mapping[str, Any],
    device_id: str,
    ttl_seconds: int | None,
    metadata: Mapping[str, str] | None,
) -> dict[str, Any]:
    body = {
        "merchant_id": merchant_id,
        "device_id": device_id,
        "encrypted_payload": dict(encrypted_payload),
        "ttl_seconds": ttl_seconds,
        "metadata": None if metadata is None else dict(metadata),
    }
    return {name: value for name, value in body.items() if value is not None}


def get(payment_token: str, merchant_id: str | None) -> Operation[PaymentToken]:
    return Operation(
        "GET",
        _token_path(payment_token, merchant_id),
        {},
        None,
        lambda answer: PaymentToken.of(answer.document(), replayed=False),
    )


def delete(payment_token: str, merchant_id: str | None) -> Operation[None]:
    return Operation(
        "DELETE", _token_path(payment_token, merchant_id), {}, None, lambda _answer: None
    )


def decrypt(
    payment_token: str,
    merchant_id: str,
    purpose: str,
    fields: Sequence[str],
    request_id: str | None,
) -> Operation[Release]:
    """Without a request id one is made up. Raises ValueError for one that no header can carry."""
    body = decrypt_body(payment_token, merchant_id, purpose, fields)
    return Operation(
        "POST",
        "/internal/v1/decrypt",
        {"Content-Type": "application/json", "X-Request-ID": _request_id(request_id)},
        to_json(body),
        lambda answer: Release.of(answer.document()),
    )


def decrypt_body(
    payment_token: str, merchant_id: str, purpose: str, fields: Sequence[str]
) -> dict[str, Any]:
    return {
        "payment_token": payment_token,
        "merchant_id": merchant_id,
        "purpose": purpose,
        "fields": list(fields),
    }


def complete_authorization(
    payment_token: str, merchant_id: str, outcome: str, request_id: str | None
) -> Operation[Completion]:
    """Without a request id one is made up. Raises ValueError for one that no header can carry, TokenNotFoundError.

    >>> operation = complete_authorization("pt_abc", "m_1", "declined", "r-1")
    >>> operation.path, operation.body
    ('/internal/v1/payment-tokens/pt_abc/authorization-complete', b'{"merchant_id":"m_1","outcome":"declined"}')
    """
    return Operation(
        "POST",
        f"/internal/v1/payment-tokens/{_named(payment_token)}/authorization-complete",
        {"Content-Type": "application/json", "X-Request-ID": _request_id(request_id)},
        to_json({"merchant_id": merchant_id, "outcome": outcome}),
        lambda answer: Completion.of(answer.document()),
    )


def _request_id(given: str | None) -> str:
    request_id = made_up() if given is None else given
    if not VISIBLE_ASCII.fullmatch(request_id):
        raise ValueError("a request id is visible ASCII characters")
    return request_id


def _named(payment_token: str) -> str:
    """Raises TokenNotFoundError for what cannot be a token: no text leads to another route, no card number into a URL."""
    if not _TOKEN.fullmatch(payment_token):
        raise TokenNotFoundError("That text is not a payment token, so nothing was sent.")
    return payment_token


def _token_path(payment_token: str, merchant_id: str | None) -> str:
    """Raises TokenNotFoundError.

    >>> _token_path("pt_abc", "m_1")
    '/v1/payment-tokens/pt_abc?merchant_id=m_1'
    """
    query = "" if merchant_id is None else "?" + urlencode({"merchant_id": merchant_id})
    return f"/v1/payment-tokens/{_named(payment_token)}{query}"


def to_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
