"""An outage is a 503 that says when to come again; nothing is released without its record."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import Deployment, RunningService
from tests.support.load import Load

# A request is answered within three seconds; the rest is for a busy machine.
BOUND_SECONDS = 6


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Of this module's own, because its database suffers."""
    deployment = Deployment.made_in(tmp_path_factory.mktemp("outages"))
    with EmbeddedServer(deployment.folder):
        yield deployment


@pytest.fixture(scope="module")
def service(deployment: Deployment) -> Iterator[RunningService]:
    with deployment.serving() as running:
        yield running


@pytest.fixture
def database(deployment: Deployment) -> Iterator[psycopg.Connection]:
    with (
        EmbeddedServer(deployment.folder) as server,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        yield connection


@contextmanager
def frozen_database(deployment: Deployment) -> Iterator[None]:
    """PostgreSQL does nothing any more, and closes no connection: the worst kind of outage."""
    postmaster = EmbeddedServer(deployment.folder).postmaster_pid
    assert postmaster is not None
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    processes = [postmaster, *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def wait_until_ready(service: RunningService) -> None:
    deadline = time.monotonic() + 30
    while httpx.get(service.urls["public"] + "/readyz").status_code != 200:
        assert time.monotonic() < deadline, "the service does not become ready again"
        time.sleep(0.1)


def check_unavailable(answer: httpx.Response, *codes: str) -> None:
    assert (answer.status_code, answer.json()["code"] in codes) == (503, True), answer.text
    assert "Retry-After" in answer.headers
    assert PUBLISHED_CARDS[0].pan not in answer.text


def test_a_frozen_database(
    deployment: Deployment, service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    body = deployment.body()
    token = service.create(pos, body).json()["payment_token"]

    with frozen_database(deployment):
        for ask in (
            lambda: service.create(pos, deployment.body()),
            lambda: pos.get(f"/v1/payment-tokens/{token}"),
            lambda: service.release(worker, token),
        ):
            started = time.monotonic()
            check_unavailable(ask(), "database_unavailable", "audit_unavailable")
            assert time.monotonic() - started < BOUND_SECONDS
        assert httpx.get(service.urls["public"] + "/healthz").status_code == 200
        assert (
            httpx.get(service.urls["public"] + "/readyz", timeout=BOUND_SECONDS).status_code == 503
        )

    wait_until_ready(service)
    assert service.create(pos, deployment.body()).status_code == 201
    assert service.release(worker, token).status_code == 200


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        (
            "ALTER TABLE decrypt_audit_log RENAME TO away",
            "ALTER TABLE away RENAME TO decrypt_audit_log",
        ),
        (
            "ALTER TABLE decrypt_audit_log ADD CONSTRAINT full_up CHECK (false) NOT VALID",
            "ALTER TABLE decrypt_audit_log DROP CONSTRAINT full_up",
        ),
    ],
    ids=["gone", "full"],
)
def test_without_a_record_nothing_is_released(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    database: psycopg.Connection,
    break_it: str,
    mend_it: str,
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]
    database.execute(break_it)
    try:
        check_unavailable(service.release(worker, token), "audit_unavailable")
        # A refusal needs its record as well.
        check_unavailable(service.release(worker, "pt_" + "b" * 36), "audit_unavailable")
        check_unavailable(
            service.release(worker, token, merchant_id="m_other"), "audit_unavailable"
        )
        # The public side goes on.
        assert service.create(pos, deployment.body()).status_code == 201
    finally:
        database.execute(mend_it)

    assert service.release(worker, token).status_code == 200


def test_an_audit_log_that_is_locked(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    database: psycopg.Connection,
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]
    with database.transaction():
        database.execute("LOCK TABLE decrypt_audit_log IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        check_unavailable(
            service.release(worker, token), "audit_unavailable", "database_unavailable"
        )
        assert time.monotonic() - started < BOUND_SECONDS

    assert service.release(worker, token).status_code == 200


def test_a_revocation_that_is_acknowledged_is_never_followed_by_a_release(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    database: psycopg.Connection,
) -> None:
    for _ in range(20):
        token = service.create(pos, deployment.body()).json()["payment_token"]
        answers: list[tuple[float, int]] = []

        def release_for_a_while(
            token: str = token, answers: list[tuple[float, int]] = answers
        ) -> None:
            with service.worker() as client:
                for _ in range(6):
                    sent = time.monotonic()
                    answers.append((sent, service.release(client, token).status_code))

        releasing = threading.Thread(target=release_for_a_while)
        releasing.start()
        time.sleep(0.03)
        assert pos.delete(f"/v1/payment-tokens/{token}").status_code == 204
        acknowledged = time.monotonic()
        releasing.join()

        assert {status for _, status in answers} <= {200, 410}
        assert all(status == 410 for sent, status in answers if sent > acknowledged)


TAMPERED = {
    "a flipped bit": "UPDATE payment_tokens SET sealed_pan = set_bit(sealed_pan, 900, 1 - get_bit(sealed_pan, 900))"
    " WHERE token_id = %(token)s",
    "another token's card": "UPDATE payment_tokens SET sealed_pan ="
    " (SELECT sealed_pan FROM payment_tokens WHERE token_id = %(other)s) WHERE token_id = %(token)s",
    "a longer life": "UPDATE payment_tokens SET expires_at = expires_at + interval '1 day' WHERE token_id = %(token)s",
    "SAD in the place of the card": "UPDATE payment_tokens SET sealed_pan = sealed_sad WHERE token_id = %(token)s",
    "junk": "UPDATE payment_tokens SET sealed_pan = 'junk' WHERE token_id = %(token)s",
    "a later deadline": "UPDATE payment_tokens SET sad_deadline = sad_deadline + interval '1 hour'"
    " WHERE token_id = %(token)s",
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_record_that_was_tampered_with_is_an_alarm(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    database: psycopg.Connection,
    name: str,
) -> None:
    token, other = (
        service.create(pos, deployment.body()).json()["payment_token"] for _ in range(2)
    )
    database.execute(TAMPERED[name], {"token": token, "other": other})

    answer = service.release(worker, token, fields=["pan", "sad"])

    assert (answer.status_code, answer.json()["code"]) == (500, "record_integrity_failure")
    assert PUBLISHED_CARDS[0].pan not in answer.text
    recorded = database.execute(
        "SELECT outcome, code FROM audit_records WHERE token_id = %s", (token,)
    )
    assert recorded.fetchall() == [("refused", "record_integrity_failure")]
    assert any(
        '"critical"' in line and "record integrity failure" in line for line in service.log_lines
    )


def test_a_service_that_is_told_to_end_finishes_what_it_began(deployment: Deployment) -> None:
    with deployment.serving() as service:
        with Load(deployment, service.urls["public"]) as load:
            load.wait_for_progress(20)
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < 20
        # Whatever was answered was answered well: a request is finished, or its connection refused.
        assert load.statuses == {201}
