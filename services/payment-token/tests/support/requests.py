"""Requests that are good but for one thing."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.deployment import Deployment

Change = Callable[[dict[str, Any]], object]


@dataclass
class Attempt:
    """A create request: a good one of a new terminal, after ``change``, with these headers instead or left out."""

    change: Change = lambda body: body
    raw: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)

    def send(self, deployment: Deployment, client: httpx.Client) -> httpx.Response:
        body = deployment.body()
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
        return client.send(request)


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
