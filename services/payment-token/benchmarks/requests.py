"""Requests as the bytes that go over the wire."""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from benchmarks.generator import Request, Target
from benchmarks.generator.grpc_connection import call
from benchmarks.terminals import MERCHANT
from payment_token.api.rpc.generated.decryption_service_pb2 import DecryptRequest

# A worker that charges a card: the number, its expiry, and what the terminal read besides.
RELEASED_FIELDS = ("pan", "expiry", "sad")

_TOKEN = b'"payment_token":"'


def creates(
    target: Target, api_key: str, bodies: Iterable[bytes], kind: int = 0
) -> Iterator[Request]:
    """One create for each body, under an idempotency key of its own."""
    for body in bodies:
        head = (
            f"POST /v1/payment-tokens HTTP/1.1\r\nhost: {target.authority}\r\nauthorization: Bearer {api_key}\r\n"
            f"idempotency-key: {uuid.uuid4().hex}\r\n"
        )
        yield kind, _with_body(head, body)


def views(target: Target, api_key: str, tokens: Sequence[str], kind: int = 0) -> list[Request]:
    """The masked view of each token."""
    return [
        (
            kind,
            f"GET /v1/payment-tokens/{token}?merchant_id={MERCHANT} HTTP/1.1\r\nhost: {target.authority}\r\n"
            f"authorization: Bearer {api_key}\r\n\r\n".encode(),
        )
        for token in tokens
    ]


def releases(target: Target, tokens: Sequence[str], kind: int = 0) -> list[Request]:
    """Each token's card data, over mutual TLS."""
    head = f"POST /internal/v1/decrypt HTTP/1.1\r\nhost: {target.authority}\r\n"
    return [(kind, _with_body(head, _release_body(token))) for token in tokens]


def release_calls(target: Target, tokens: Sequence[str], kind: int = 0) -> list[Request]:
    """The same over gRPC."""
    fields = [f"RELEASE_FIELD_{field.upper()}" for field in RELEASED_FIELDS]
    path = "/payment_token.v1.DecryptionService/Decrypt"
    messages = (
        DecryptRequest(
            payment_token=token, merchant_id=MERCHANT, purpose="authorization", fields=fields
        )
        for token in tokens
    )
    return [
        (kind, call(target.authority, path, message.SerializeToString())) for message in messages
    ]


def create_batches(
    target: Target, api_key: str, bodies: Iterable[bytes], size: int
) -> Iterator[Request]:
    """The creates of these bodies, ``size`` in a request."""
    head = f"POST /v1/payment-tokens:batch HTTP/1.1\r\nhost: {target.authority}\r\nauthorization: Bearer {api_key}\r\n"
    bodies = iter(bodies)
    while some := list(islice(bodies, size)):
        items = (
            b'{"idempotency_key":"%b",' % uuid.uuid4().hex.encode() + body[1:] for body in some
        )
        yield 0, _with_body(head, b'{"items":[%b]}' % b",".join(items))


def release_batches(target: Target, tokens: Sequence[str], size: int) -> list[Request]:
    """The releases of these tokens, ``size`` in a request."""
    head = f"POST /internal/v1/decrypt:batch HTTP/1.1\r\nhost: {target.authority}\r\n"
    batches = (tokens[at : at + size] for at in range(0, len(tokens), size))
    return [
        (0, _with_body(head, b'{"items":[%b]}' % b",".join(map(_release_body, batch))))
        for batch in batches
    ]


def tokens_in(answers: Iterable[bytes]) -> list[str]:
    """The tokens that creates were answered with."""
    found = []
    for answer in answers:
        start = answer.index(_TOKEN) + len(_TOKEN)
        found.append(answer[start : answer.index(b'"', start)].decode())
    return found


def _release_body(token: str) -> bytes:
    body = {
        "payment_token": token,
        "merchant_id": MERCHANT,
        "purpose": "authorization",
        "fields": RELEASED_FIELDS,
    }
    return json.dumps(body).encode()


def _with_body(head: str, body: bytes) -> bytes:
    return (
        f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
