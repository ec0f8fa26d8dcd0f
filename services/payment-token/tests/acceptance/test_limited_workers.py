"""Workers with a budget and a rate, as a deployment of several processes keeps them."""

import json
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.location import deployment_url
from tests.support.certificates import Authority, internal_settings, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService, client_context
from tests.support.problems import check_nothing_was_a_defect

HOUR = 3_600
PATIENCE_SECONDS = 20

WORKER = """
[[worker]]
identity = "spiffe://test/{name}"
merchants = ["m_demo"]
purposes = ["capture"]
fields = ["pan", "expiry"]
{limits}
"""


def policy(**limits: str) -> str:
    return "".join(WORKER.format(name=name, limits=text) for name, text in limits.items())


@dataclass
class Limited:
    """Each request has a connection of its own, so that either process gets some."""

    service: RunningService
    folder: Path
    tokens: list[str]
    used: int = field(default=0)

    def new_tokens(self, number: int) -> list[str]:
        self.used += number
        assert self.used <= len(self.tokens)
        return self.tokens[self.used - number : self.used]

    def release(self, worker: str, token: str, request_id: str = "") -> httpx.Response:
        with self.client(worker) as client:
            headers = {"X-Request-ID": request_id or uuid.uuid4().hex}
            return client.post("/internal/v1/decrypt", json=asked(token), headers=headers)

    def releases(self, worker: str, tokens: list[str]) -> Counter[int]:
        with ThreadPoolExecutor(8) as at_once:
            answers = list(at_once.map(lambda token: self.release(worker, token), tokens))
        return Counter(answer.status_code for answer in answers)

    def client(self, worker: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.service.urls["internal"],
            verify=client_context(self.folder, worker),
            timeout=20,
        )

    def adopt(self, text: str) -> None:
        """All processes read the policy again."""
        (self.folder / "policy.toml").write_text(text)
        before = self.reloads()
        self.service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.reloads() < before + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def reloads(self) -> int:
        return sum('"worker policy reloaded"' in line for line in list(self.service.log_lines))

    def records(self, worker: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Event, code and details."""
        with psycopg.connect(deployment_url(self.service.deployment.settings)) as database:
            found = database.execute(
                "SELECT record FROM decrypt_audit_log WHERE record::jsonb ->> 'identity' = %s",
                (f"spiffe://test/{worker}",),
            ).fetchall()
        records = [json.loads(text) for (text,) in found]
        return [(record["event"], record["code"], record.get("details", {})) for record in records]

    def metric(self, limit: str, worker: str) -> float:
        text = httpx.get(f"{self.service.urls['metrics']}/metrics").text
        name = (
            "payment_token_worker_requests_over_limit_total"
            f'{{limit="{limit}",worker="spiffe://test/{worker}"}} '
        )
        return next(
            (float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0
        )


def asked(token: str) -> dict[str, str]:
    return {"payment_token": token, "merchant_id": MERCHANT, "purpose": "capture"}


LIMITS = {
    "sparing": f"budget = {{ tokens = 10, window_seconds = {HOUR} }}",
    "batching": f"budget = {{ tokens = 6, window_seconds = {HOUR} }}",
    "hammering": f"rate = {{ requests = 20, per_seconds = {HOUR} }}",
    "changing": f"budget = {{ tokens = 1, window_seconds = {HOUR} }}",
    "free": "",
}


@pytest.fixture(scope="module")
def limited(
    new_deployment: Callable[[], Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Limited]:
    left = HOUR - time.time() % HOUR
    if left < 120:
        time.sleep(left)
    folder, deployment = tmp_path_factory.mktemp("limited"), new_deployment()
    with serving(deployment, folder, "--workers", "2") as found:
        yield found
        check_nothing_was_a_defect(found.service)


@contextmanager
def serving(
    deployment: Deployment, folder: Path, *arguments: str, **environment: str
) -> Iterator[Limited]:
    authority = Authority(folder)
    authority.issue_server()
    for name in LIMITS:
        authority.issue(name, [uri(f"spiffe://test/{name}")])
    (folder / "policy.toml").write_text(policy(**LIMITS))
    settings = internal_settings(folder)
    del settings["CLIENT_CRL_FILE"]
    with deployment.serving(*arguments, **settings, **environment) as service:
        yield Limited(service, folder, made(deployment, service))


def made(deployment: Deployment, service: RunningService, number: int = 100) -> list[str]:
    terminal = deployment.terminal()
    items = [
        terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
        | {"idempotency_key": uuid.uuid4().hex}
        for _ in range(number)
    ]
    with service.public() as pos:
        results = pos.post("/v1/payment-tokens:batch", json={"items": items}).json()["results"]
    return [result["body"]["payment_token"] for result in results]


def test_two_processes_keep_one_budget(limited: Limited) -> None:
    tokens = limited.new_tokens(30)

    first = limited.releases("sparing", tokens)
    again = limited.releases("sparing", tokens)

    assert first == again == {200: 10, 429: 20}
    over = limited.release("sparing", limited.new_tokens(1)[0])
    assert over.json()["code"] == "rate_limited"
    assert "10 different tokens in 3,600 seconds" in over.json()["detail"]
    assert 1 <= int(over.headers["Retry-After"]) <= HOUR


def test_a_worker_that_asks_for_the_same_token_is_not_held_up(limited: Limited) -> None:
    (token,) = limited.new_tokens(1)
    assert limited.releases("changing", [token] * 30) == {200: 30}
    assert limited.release("changing", limited.new_tokens(1)[0]).status_code == 429
    assert limited.releases("free", limited.tokens[: limited.used]) == {200: limited.used}


def test_the_items_of_a_batch_that_the_budget_has_no_room_for_are_refused_each(
    limited: Limited,
) -> None:
    tokens = limited.new_tokens(10)
    with limited.client("batching") as client:
        items = [asked(token) for token in tokens]
        answers = [
            client.post("/internal/v1/decrypt:batch", json={"items": items}).json()["results"]
            for _ in range(2)
        ]

    for results in answers:
        assert Counter(result["status"] for result in results) == {200: 6, 429: 4}
        for result, token in zip(results, tokens, strict=True):
            if result["status"] == 200:
                assert result["body"]["payment_token"] == token
            else:
                assert result["problem"]["code"] == "rate_limited"
                assert 1 <= result["problem"]["retry_after_seconds"] <= HOUR
    given = [[result["status"] for result in results] for results in answers]
    assert given[0] == given[1]


def test_whoever_hammers_fills_no_log(limited: Limited) -> None:
    (token,) = limited.new_tokens(1)
    with limited.client("hammering") as client:
        found = Counter(
            client.post(
                "/internal/v1/decrypt", json=asked(token if number % 2 else "pt_guess")
            ).status_code
            for number in range(400)
        )

    # One process at least had permits; what the other one leased of them may be lost.
    assert sum(found.values()) == 400
    assert found[200] + found[404] <= 20
    assert found[429] >= 380
    records = limited.records("hammering")
    assert len([record for record in records if record[0] == "decrypt"]) <= 20 + 2
    assert limited.metric("rate", "hammering") == found[429]


def test_the_counts_are_in_the_log_when_a_process_ends(
    new_deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    with serving(new_deployment(), tmp_path) as limited:
        (token,) = limited.new_tokens(1)
        found = limited.releases("hammering", [token] * 60)
        limited.service.stop()
        records = limited.records("hammering")

    counted = [details for event, _, details in records if event == "requests_refused"]
    single = [code for event, code, _ in records if event == "decrypt" and code != "ok"]
    assert single == ["rate_limited"]
    assert [(each["limit"], each["requests"]) for each in counted] == [("rate", found[429] - 1)]


def test_a_policy_that_is_read_again_changes_the_limits(limited: Limited) -> None:
    tokens = limited.new_tokens(4)
    limited.adopt(
        policy(**LIMITS | {"free": f"budget = {{ tokens = 1, window_seconds = {HOUR} }}"})
    )
    assert limited.releases("free", tokens) == {200: 1, 429: 3}

    limited.adopt(
        policy(**LIMITS | {"free": f"budget = {{ tokens = 3, window_seconds = {HOUR} }}"})
    )
    assert limited.releases("free", tokens) == {200: 3, 429: 1}
    assert limited.releases("free", tokens) == {200: 3, 429: 1}

    limited.adopt(policy(**LIMITS))
    assert limited.releases("free", tokens) == {200: 4}


def test_without_the_database_a_worker_with_a_budget_gets_nothing(
    new_deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    """Nor when it is only what counts the budget that is out of reach."""
    deployment = new_deployment()
    url = deployment_url(deployment.settings)
    with serving(deployment, tmp_path) as limited, psycopg.connect(url) as database:
        tokens = limited.new_tokens(3)
        assert limited.release("sparing", tokens[0]).status_code == 200
        database.execute("LOCK TABLE worker_token_uses IN ACCESS EXCLUSIVE MODE")

        refused = limited.release("sparing", tokens[1])
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert "Retry-After" in refused.headers
        # What was charged is known, and whoever has no budget is not concerned.
        assert limited.release("sparing", tokens[0]).status_code == 200
        assert limited.release("free", tokens[1]).status_code == 200
        database.rollback()

        assert limited.releases("sparing", tokens) == {200: 3}
