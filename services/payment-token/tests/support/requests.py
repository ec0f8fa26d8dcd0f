"""Requests that are good but for one thing."""

import json
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from tests.support.deployment import MERCHANT, Deployment

Change = Callable[[dict[str, Any]], object]


@dataclass
class Attempt:
    """A create request: a good one of a new terminal, after ``change``, with these headers instead or left out.

    ``more_headers`` are sent as they stand, beside the others, so that a name can come twice. ``bdk_id`` is the key of
    the terminal.
    """

    change: Change = lambda body: body
    raw: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    more_headers: Sequence[tuple[str, str | bytes]] = ()
    bdk_id: str = "default-aes-128"

    def send(self, deployment: Deployment, client: httpx.Client) -> httpx.Response:
        body = deployment.terminal(self.bdk_id).create_body(
            MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2
        )
        self.change(body)
        headers: dict[str, str | None] = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.uuid4()),
        } | self.headers
        content = json.dumps(body).encode() if self.raw is None else self.raw
        request = client.build_request("POST", "/v1/payment-tokens", content=content)
        for name, value in headers.items():
            request.headers.pop(name, None)
            if value is not None:
                request.headers[name] = value
        request.headers = httpx.Headers([*request.headers.raw, *_encoded(self.more_headers)])
        return client.send(request)


def _encoded(headers: Sequence[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode(), value.encode() if isinstance(value, str) else value)
        for name, value in headers
    ]


def exchange(url: str, sent: bytes, *, half_close: bool = False, timeout: float = 10) -> bytes:
    """Sends bytes as they stand, and returns all that comes back until the service hangs up."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def setting(path: str, value: Any) -> Change:
    """Sets a field; ``path`` is dotted, with list positions as numbers."""

    def change(body: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        place: Any = body
        for step in steps:
            place = place[int(step)] if step.isdecimal() else place[step]
        place[last] = value

    return change


def without(path: str) -> Change:
    def change(body: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        place: Any = body
        for step in steps:
            place = place[int(step)] if step.isdecimal() else place[step]
        del place[last]

    return change


def adding(name: str, value: Any) -> Change:
    def change(body: dict[str, Any]) -> None:
        body[name] = value

    return change
