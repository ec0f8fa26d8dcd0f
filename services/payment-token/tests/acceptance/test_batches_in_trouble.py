"""Batches while the database is away, while tokens are revoked, and several at a time: no card data without its record."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.support.audit_chain import check_chains, check_releases, rows_of
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.postgres_proxy import Way, Wire, postgres_proxy_beside
from tests.support.problems import PAN

OUTAGE = {"audit_unavailable", "database_unavailable", "overloaded"}
PATIENCE_SECONDS = 30


@dataclass
class Place:
    """A service that is asked for batches, and the wire to its database."""

    deployment: Deployment
    service: RunningService
    database: psycopg.Connection
    wire: Wire
    receipts: list[str] = field(default_factory=list)

    def made(self, number: int) -> list[str]:
        body = self.deployment.body()
        items = [body | {"idempotency_key": uuid.uuid4().hex} for _ in range(number)]
        with self.service.public() as pos:
            answer = pos.post("/v1/payment-tokens:batch", json={"items": items})
        return [result["body"]["payment_token"] for result in answer.json()["results"]]

    def released(self, tokens: list[str]) -> list[dict[str, Any]]:
        """The results; of a batch that failed as a whole, its problem for each item."""
        items = [
            {"payment_token": token, "merchant_id": MERCHANT, "purpose": "capture"}
            for token in tokens
        ]
        with self.service.worker() as worker:
            answer = worker.post("/internal/v1/decrypt:batch", json={"items": items})
        if answer.status_code != 200:
            assert PAN not in answer.text
            return [{"status": answer.status_code, "problem": answer.json()}] * len(items)
        results: list[dict[str, Any]] = answer.json()["results"]
        assert len(results) == len(items)
        self.receipts += [
            result["body"]["audit_receipt"] for result in results if result["status"] == 200
        ]
        return results

    def check_recovered(self, tokens: list[str]) -> None:
        """Everything is released again, and what is in the log was answered or taken back."""
        eventually(
            lambda: all(result["status"] == 200 for result in self.released(tokens)),
            "no more releases",
        )

        def the_log_is_right() -> bool:
            rows = rows_of(self.database)
            check_chains(rows)
            try:
                check_releases(rows, self.receipts)
            except AssertionError:
                return False
            return True

        eventually(the_log_is_right, "a release without an answer is not taken back")


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def codes(results: list[dict[str, Any]]) -> set[str]:
    return {result["problem"]["code"] for result in results if result["status"] != 200}


@pytest.fixture(scope="module")
def place(new_deployment: Callable[[], Deployment]) -> Iterator[Place]:
    deployment = new_deployment()
    url = deployment.environment["DATABASE_URL"]
    with (
        psycopg.connect(url, autocommit=True) as database,
        postgres_proxy_beside(url) as wire,
        deployment.serving(
            *("--only", "public", "--only", "internal"),
            DATABASE_URL=wire.url,
            MIGRATION_DATABASE_URL=url,
        ) as service,
    ):
        yield Place(deployment, service, database, wire)
        assert not [line for line in service.log_lines if '"exception"' in line or PAN in line]


@contextmanager
def silent(place: Place) -> Iterator[None]:
    place.wire.go_silent(for_all=True)
    yield
    place.wire.heal()


@contextmanager
def cut_in_the_middle(place: Place) -> Iterator[None]:
    # A batch of 60 has its look-up, and one or two records behind it.
    place.wire.cut_at(Way.TO_CLIENT, 2)
    yield
    place.wire.heal()


@contextmanager
def locked(place: Place) -> Iterator[None]:
    with place.database.transaction(force_rollback=True):
        place.database.execute("LOCK TABLE decrypt_audit_log IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("trouble", [locked, silent])
def test_nothing_is_released_while_nothing_can_be_recorded(
    place: Place, trouble: Callable[[Place], Any]
) -> None:
    tokens = place.made(60)
    place.check_recovered(tokens)

    with trouble(place):
        results = place.released(tokens)

    assert {result["status"] for result in results} == {503}
    assert codes(results) <= OUTAGE
    place.check_recovered(tokens)


def test_a_database_that_is_lost_in_the_middle(place: Place) -> None:
    tokens = place.made(60)
    place.check_recovered(tokens)

    with cut_in_the_middle(place):
        results = place.released(tokens)

    assert {result["status"] for result in results} <= {200, 503}
    assert codes(results) <= OUTAGE
    place.check_recovered(tokens)


def test_a_release_that_is_late_is_taken_back(place: Place) -> None:
    """Each step is in time, but all of them together are not: the answer has left when the records come."""
    tokens = place.made(200)
    place.check_recovered(tokens)
    place.wire.delay[Way.TO_CLIENT] = 0.9

    results = place.released(tokens)

    place.wire.heal()
    assert {result["status"] for result in results} <= {200, 503}
    assert codes(results) == {"overloaded"}
    place.check_recovered(tokens)


def test_a_revocation_ends_what_a_batch_releases(place: Place) -> None:
    tokens = place.made(60)
    with place.service.public() as pos, ThreadPoolExecutor(2) as threads:

        def revoke() -> None:
            for token in tokens:
                assert pos.delete(f"/v1/payment-tokens/{token}").status_code == 204

        racing = threads.submit(revoke)
        seen: set[tuple[int, str]] = set()
        while not racing.done():
            for result in place.released(tokens):
                seen.add((result["status"], result.get("problem", {}).get("code", "")))
        racing.result()

    assert seen <= {(200, ""), (410, "token_revoked")}
    assert codes(place.released(tokens)) == {"token_revoked"}
    place.check_recovered(place.made(1))


def test_four_batches_at_once_leave_room_for_single_requests(place: Place) -> None:
    tokens = place.made(100)
    with ThreadPoolExecutor(5) as threads, place.service.worker() as worker:
        batches = [threads.submit(place.released, tokens * 5) for _ in range(4)]
        singles = []
        while not all(batch.done() for batch in batches):
            singles.append(place.service.release(worker, tokens[0]))
        results = [result for batch in batches for result in batch.result()]

    place.receipts += [single.json()["audit_receipt"] for single in singles]
    assert {single.status_code for single in singles} == {200}
    # A slow machine does what it can in time.
    assert {result["status"] for result in results} <= {200, 503}
    assert codes(results) <= {"overloaded"}
    assert any(result["status"] == 200 for result in results)
    place.check_recovered(tokens)
