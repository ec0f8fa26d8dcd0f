"""A load of creates that keeps a record of what was promised, for tests that break things in its middle."""

import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import httpx

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from tests.support.deployment import MERCHANT, Deployment, RunningService

PATIENCE_SECONDS = 60


@dataclass
class Operation:
    """``acknowledged`` holds every token that was answered under this key."""

    key: str
    body: dict[str, Any]
    pan: str
    acknowledged: set[str] = field(default_factory=set)

    @property
    def unknown(self) -> bool:
        return not self.acknowledged


class _Clients:
    """Threads that work until the block ends."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in work]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


class Load(_Clients):
    """Clients that create tokens until told to stop. ``url`` may change while they run."""

    def __init__(
        self, deployment: Deployment, url: str, clients: int = 6, pause_seconds: float = 0.0
    ) -> None:
        super().__init__([self._client] * clients)
        self.operations: list[Operation] = []
        self.statuses: set[int] = set()
        self.url = url
        self._pause_seconds = pause_seconds
        self._deployment = deployment
        self._headers = {"Authorization": f"Bearer {deployment.api_key}"}

    def acknowledged(self) -> int:
        return sum(not operation.unknown for operation in self.operations)

    def wait_for_progress(self, more: int = 15) -> None:
        """Waits until so many more tokens are acknowledged."""
        goal = self.acknowledged() + more
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.acknowledged() < goal:
            assert time.monotonic() < deadline, "the service does not come back"
            time.sleep(0.02)

    def settle(self) -> None:
        """Retries every operation whose outcome is unknown, with the identical body."""
        unknown = [operation for operation in self.operations if operation.unknown]
        with httpx.Client(headers=self._headers, timeout=10) as client:
            for operation in unknown:
                deadline = time.monotonic() + PATIENCE_SECONDS
                while operation.unknown:
                    assert time.monotonic() < deadline, "the service does not come back"
                    self._attempt(client, operation)

    def _client(self) -> None:
        terminal = self._deployment.terminal()
        with httpx.Client(headers=self._headers, timeout=10) as client:
            number = 0
            while not self._ended.is_set():
                number += 1
                card = PUBLISHED_CARDS[number % len(PUBLISHED_CARDS)]
                body = terminal.create_body(MERCHANT, card, PartFormat.TRACK2)
                operation = Operation(uuid.uuid4().hex, body, card.pan)
                self.operations.append(operation)
                self._attempt(client, operation)
                time.sleep(self._pause_seconds)

    def _attempt(self, client: httpx.Client, operation: Operation) -> None:
        try:
            answer = client.post(
                f"{self.url}/v1/payment-tokens",
                json=operation.body,
                headers={"Idempotency-Key": operation.key},
            )
        except httpx.TransportError:
            time.sleep(0.05)
            return
        self.statuses.add(answer.status_code)
        if answer.is_success:
            operation.acknowledged.add(answer.json()["payment_token"])
        else:
            time.sleep(0.05)


class Readers(_Clients):
    """A worker at each service that releases acknowledged tokens until told to stop, and keeps what was not right."""

    def __init__(self, services: list[RunningService], loads: list[Load]) -> None:
        super().__init__([partial(self._worker, service) for service in services])
        self.wrong: list[str] = []
        self.read = 0
        self._loads = loads

    def wait_for_progress(self, more: int = 50) -> None:
        goal, deadline = self.read + more, time.monotonic() + PATIENCE_SECONDS
        while self.read < goal:
            assert time.monotonic() < deadline, "the workers get no answers"
            time.sleep(0.02)

    def _worker(self, service: RunningService) -> None:
        with service.worker() as client:
            while not self._ended.is_set():
                known = [
                    (token, operation.pan)
                    for load in self._loads
                    for operation in list(load.operations)
                    for token in list(operation.acknowledged)
                ]
                if not known:
                    continue
                token, pan = secrets.choice(known)
                answer = service.release(client, token)
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                elif answer.json()["payment_data"]["pan"] != pan:
                    self.wrong.append("another card came back")
                self.read += 1
                time.sleep(0.01)
