"""Batches while the database is away, while tokens are revoked, and several at a time: no card data without its record."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.support.audit_chain import check_chains, check_releases, rows_of
from tests.support.both_protocols import (
    Answer,
    OverGRPC,
    OverREST,
    Sent,
    SentBatch,
    answers_of,
    new_key,
)
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.postgres_proxy import Way, Wire, postgres_proxy_beside
from tests.support.problems import PAN
from tests.support.rpc import (
    RPCClient,
    batch_message,
    decrypt_message,
    rpc_client,
)

OUTAGE = {"audit_unavailable", "database_unavailable", "overloaded"}
PATIENCE_SECONDS = 30


@dataclass
class Place:
    """A service that is asked for batches, over one protocol, and the wire to its database."""

    deployment: Deployment
    service: RunningService
    database: psycopg.Connection
    wire: Wire
    clients: dict[str, OverREST | OverGRPC]
    protocol: str = "REST"
    receipts: list[str] = field(default_factory=list)

    @property
    def client(self) -> OverREST | OverGRPC:
        return self.clients[self.protocol]

    @property
    def worker(self) -> RPCClient:
        client = self.clients["gRPC"].internal
        assert isinstance(client, RPCClient)
        return client

    def made(self, number: int) -> list[str]:
        items = [Sent(self.deployment.body(), new_key()) for _ in range(number)]
        tokens: dict[int, str] = {}

        def all_made() -> bool:
            left = [place for place in range(number) if place not in tokens]
            answer = self.client.create_batch(SentBatch([items[place] for place in left]))
            # What the test before did to the wire may still be felt.
            assert {answer.code, *codes(answer.results)} <= OUTAGE | {""}
            for place, result in zip(left, answer.results, strict=not answer.code):
                if result.body is not None:
                    tokens[place] = result.body["payment_token"]
            return len(tokens) == number

        eventually(all_made, "no more tokens")
        return [tokens[place] for place in range(number)]

    def released(self, tokens: Sequence[str]) -> Sequence[Answer]:
        """The results; of a batch that failed as a whole, that answer for each item."""
        answer = self.client.decrypt_batch(SentBatch([asked(token) for token in tokens]))
        return self.kept(tokens, answer)

    def kept(self, tokens: Sequence[str], answer: Answer) -> Sequence[Answer]:
        """What has left of it is to be in the log."""
        results = [answer] * len(tokens) if answer.code else answer.results
        assert len(results) == len(tokens)
        self.receipts += [result.body["audit_receipt"] for result in results if result.body]
        return results

    def check_recovered(self, tokens: Sequence[str]) -> None:
        """Everything is released again, and what is in the log was answered or taken back."""
        eventually(lambda: codes(self.released(tokens)) == {""}, "no more releases")
        self.check_log()

    def check_log(self) -> None:
        def is_right() -> bool:
            rows = rows_of(self.database)
            check_chains(rows)
            try:
                check_releases(rows, self.receipts)
            except AssertionError:
                return False
            return True

        eventually(is_right, "a release without an answer is not taken back")


def asked(token: str) -> Sent:
    return Sent({"payment_token": token, "merchant_id": MERCHANT, "purpose": "capture"})


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def codes(results: Sequence[Answer]) -> set[str]:
    """What came of them; empty for a release."""
    return {result.code for result in results}


@pytest.fixture(scope="module")
def both(new_deployment: Callable[[], Deployment]) -> Iterator[Place]:
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
        ExitStack() as closing,
    ):
        yield Place(deployment, service, database, wire, _clients(service, closing))
        assert not [line for line in service.log_lines if '"exception"' in line or PAN in line]


def _clients(service: RunningService, closing: ExitStack) -> dict[str, OverREST | OverGRPC]:
    enter, urls, folder = closing.enter_context, service.urls, service.deployment.folder
    key = (("authorization", f"Bearer {service.deployment.api_key}"),)
    return {
        "REST": OverREST(enter(service.public()), enter(service.worker())),
        "gRPC": OverGRPC(
            enter(rpc_client(urls["public_grpc"], metadata=key)),
            enter(rpc_client(urls["internal_grpc"], folder=folder, certificate="worker")),
        ),
    }


@pytest.fixture(params=["REST", "gRPC"])
def place(both: Place, request: pytest.FixtureRequest) -> Place:
    both.protocol = request.param
    return both


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

    assert codes(results) <= OUTAGE
    place.check_recovered(tokens)


def test_a_database_that_is_lost_in_the_middle(place: Place) -> None:
    tokens = place.made(60)
    place.check_recovered(tokens)

    with cut_in_the_middle(place):
        results = place.released(tokens)

    assert codes(results) <= OUTAGE | {""}
    place.check_recovered(tokens)


def test_a_release_that_is_late_is_taken_back(place: Place) -> None:
    """Each step is in time, but all of them together are not: the answer has left when the records come."""
    tokens = place.made(200)
    place.check_recovered(tokens)
    place.wire.delay[Way.TO_CLIENT] = 0.9

    results = place.released(tokens)

    place.wire.heal()
    assert {"overloaded"} <= codes(results) <= {"overloaded", ""}
    place.check_recovered(tokens)


def test_a_revocation_ends_what_a_batch_releases(place: Place) -> None:
    tokens = place.made(60)
    with place.service.public() as pos, ThreadPoolExecutor(2) as threads:

        def revoke() -> None:
            for token in tokens:
                assert pos.delete(f"/v1/payment-tokens/{token}").status_code == 204

        racing = threads.submit(revoke)
        seen: set[str] = set()
        while not racing.done():
            seen |= codes(place.released(tokens))
        racing.result()

    assert seen <= {"", "token_revoked"}
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
    assert {""} <= codes(results) <= {"overloaded", ""}
    place.check_recovered(tokens)


# --- What is gRPC's alone: deadlines of the caller, and calls that it cancels -----------------------------------------


@pytest.fixture
def over_grpc(both: Place) -> Place:
    both.protocol = "gRPC"
    return both


def message(tokens: Sequence[str]) -> bytes:
    return batch_message([decrypt_message(asked(token).body) for token in tokens])


def test_a_batch_is_answered_before_the_deadline_of_its_caller(over_grpc: Place) -> None:
    """Of a look-up and a record of 0.6 seconds each the first is in time, and neither is what comes after."""
    tokens = over_grpc.made(60)
    over_grpc.check_recovered(tokens)
    over_grpc.wire.delay[Way.TO_CLIENT] = 0.6

    answer = over_grpc.worker.call("BatchDecrypt", message(tokens), timeout=1.2)

    over_grpc.wire.heal()
    assert answer.status == "OK", answer
    results = over_grpc.kept(tokens, answers_of(answer))
    assert codes(results) == {"overloaded"}
    assert {result.more["retry_after_seconds"] for result in results} == {1}
    over_grpc.check_recovered(tokens)


def test_a_deadline_that_passes_takes_everything_back(over_grpc: Place) -> None:
    tokens = over_grpc.made(60)
    over_grpc.check_recovered(tokens)
    over_grpc.wire.delay[Way.TO_CLIENT] = 0.2

    answer = over_grpc.worker.call("BatchDecrypt", message(tokens), timeout=0.001)

    over_grpc.wire.heal()
    assert answer.status == "DEADLINE_EXCEEDED"
    over_grpc.check_recovered(tokens)


def test_a_call_that_is_cancelled_halfway_takes_everything_back(over_grpc: Place) -> None:
    """100 at a time: some are on record when it is cancelled, some are under way, and some are not begun."""
    tokens = over_grpc.made(300)
    over_grpc.check_recovered(tokens)
    before = len(rows_of(over_grpc.database))
    # Of each row that is read: a hundred tokens take a second, a third of what the service gives itself.
    over_grpc.wire.delay[Way.TO_CLIENT] = 0.01
    path = "/payment_token.v1.DecryptionService/BatchDecrypt"

    calling = over_grpc.worker.channel.unary_unary(path).future(message(tokens), timeout=20)
    eventually(lambda: len(rows_of(over_grpc.database)) > before, "nothing is on record")
    calling.cancel()

    over_grpc.wire.heal()
    # The log has no release that stands without an answer, and nothing was answered.
    over_grpc.check_log()
    assert len(rows_of(over_grpc.database)) < before + 2 * len(tokens)
    over_grpc.check_recovered(tokens[:1])


def test_batches_of_both_protocols_count_together(over_grpc: Place) -> None:
    """A process holds 16 of a side."""
    tokens = over_grpc.made(1)
    over_grpc.check_recovered(tokens)
    over_grpc.wire.go_silent(for_all=True)
    with ThreadPoolExecutor(16) as threads:
        held = [
            threads.submit(over_grpc.clients[protocol].decrypt_batch, SentBatch([asked(tokens[0])]))
            for protocol in ("REST", "gRPC")
            for _ in range(8)
        ]
        time.sleep(1)
        began = time.monotonic()
        sent_away = [
            over_grpc.clients[protocol].decrypt_batch(SentBatch([asked(tokens[0])]))
            for protocol in ("REST", "gRPC")
        ]
        assert time.monotonic() - began < 1
    over_grpc.wire.heal()

    assert codes(sent_away) == {"overloaded"}
    for answer in held:
        over_grpc.kept(tokens, answer.result())
    over_grpc.check_recovered(tokens)


def test_a_message_beyond_all_bounds_is_refused_without_being_read(over_grpc: Place) -> None:
    answer = over_grpc.worker.call("BatchDecrypt", bytes(1_500_000))
    assert (answer.status, answer.code) == ("RESOURCE_EXHAUSTED", "")

    public = over_grpc.clients["gRPC"].public
    assert isinstance(public, RPCClient)
    answer = public.call("BatchCreateTokens", bytes(9_000_000))
    assert (answer.status, answer.code) == ("RESOURCE_EXHAUSTED", "")
    over_grpc.check_recovered(over_grpc.made(1))
