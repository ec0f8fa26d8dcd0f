"""SAD ends when a worker says that its authorisation is complete."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from payment_token_client import AsyncWorkerClient, WorkerClient, errors, worker_tls

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.location import deployment_url
from tests.support.certificates import Authority, uri
from tests.support.deployment import MERCHANT, Deployment, RunningService, client_context
from tests.support.problems import check_nothing_was_a_defect

POLICY = """
[[worker]]
identity = "spiffe://test/authorizer"
merchants = ["m_demo"]
purposes = ["authorization"]
fields = ["pan", "expiry", "sad"]
operations = ["decrypt", "authorization-complete"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completing")
    (folder / "policy.toml").write_text(POLICY)
    authority = Authority(folder)
    authority.issue_server("server")
    authority.issue("authorizer", [uri("spiffe://test/authorizer")])
    return folder


@contextmanager
def serving(deployment: Deployment, folder: Path) -> Iterator[RunningService]:
    with deployment.serving(
        INTERNAL_TLS_CERT_FILE=str(folder / "server.pem"),
        INTERNAL_TLS_KEY_FILE=str(folder / "server-key.pem"),
        CLIENT_CA_FILE=str(folder / "ca.pem"),
        WORKER_POLICY_FILE=str(folder / "policy.toml"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def completing(deployment: Deployment, folder: Path) -> Iterator[RunningService]:
    with serving(deployment, folder) as running:
        yield running
        check_nothing_was_a_defect(running)


@pytest.fixture
def authorizer(completing: RunningService, folder: Path) -> Iterator[httpx.Client]:
    with client_of(completing, folder) as client:
        yield client


def client_of(service: RunningService, folder: Path) -> httpx.Client:
    tls = client_context(folder, "authorizer")
    return httpx.Client(base_url=service.urls["internal"], verify=tls, timeout=20)


@pytest.fixture
def payment_token(completing: RunningService, deployment: Deployment) -> str:
    body = deployment.terminal().create_body(MERCHANT, PUBLISHED_CARDS[0], PartFormat.TRACK2)
    with completing.public() as pos:
        answer = pos.post(
            "/v1/payment-tokens", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}
        )
    token: str = answer.json()["payment_token"]
    return token


def complete(authorizer: httpx.Client, payment_token: str, **more: Any) -> httpx.Response:
    return authorizer.post(
        f"/internal/v1/payment-tokens/{payment_token}/authorization-complete",
        json={"merchant_id": MERCHANT, "outcome": "approved"} | more,
    )


def release(authorizer: httpx.Client, payment_token: str) -> dict[str, Any]:
    answer = authorizer.post(
        "/internal/v1/decrypt",
        json={
            "payment_token": payment_token,
            "merchant_id": MERCHANT,
            "purpose": "authorization",
            "fields": ["pan", "sad"],
        },
    )
    assert answer.status_code == 200
    data: dict[str, Any] = answer.json()["payment_data"]
    return data


def row_of(deployment: Deployment, payment_token: str) -> tuple[Any, ...]:
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        row = database.execute(
            "SELECT sealed_sad, sealed_pan IS NOT NULL, sad_destroyed_at, sad_unrecoverable_from,"
            " (SELECT max(dies_at) FROM sad_epoch_keys) FROM payment_tokens WHERE token_id = %s",
            (payment_token,),
        ).fetchone()
    assert row is not None
    return row


def test_from_then_on_there_is_no_sad(
    authorizer: httpx.Client, payment_token: str, deployment: Deployment
) -> None:
    before = release(authorizer, payment_token)
    answer = complete(authorizer, payment_token)
    after = release(authorizer, payment_token)

    assert (before["sad_status"], before["sad"] is not None) == ("live", True)
    assert (after["sad_status"], after["sad"]) == ("destroyed", None)
    assert after["pan"] == before["pan"]
    sealed_sad, has_pan, destroyed_at, unrecoverable_from, dies_at = row_of(
        deployment, payment_token
    )
    assert (sealed_sad, has_pan) == (None, True)
    document = answer.json()
    assert answer.status_code == 200
    assert document["sad_status"] == "destroyed"
    assert datetime.fromisoformat(document["sad_destroyed_at"]) == destroyed_at
    # The death of the epoch key, to the second that its table says.
    assert datetime.fromisoformat(document["unrecoverable_from"]) == unrecoverable_from == dies_at
    assert destroyed_at < dies_at < datetime.now(UTC) + timedelta(hours=2, minutes=1)


def test_again_gives_the_same_times_and_a_receipt_of_its_own(
    authorizer: httpx.Client, payment_token: str, deployment: Deployment
) -> None:
    first = complete(authorizer, payment_token).json()
    second = complete(authorizer, payment_token, outcome="declined").json()

    receipts = {first.pop("receipt"), second.pop("receipt")}
    assert first == second
    assert len(receipts) == 2
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, identity, merchant_id, details ->> 'authorization' FROM audit_records"
            " WHERE event = 'authorization_completed' AND token_id = %s ORDER BY event_time",
            (payment_token,),
        ).fetchall()
    said = ("done", "spiffe://test/authorizer", MERCHANT)
    assert rows == [(*said, "approved"), (*said, "declined")]


def test_its_receipt_is_proven_to_be_in_the_log(
    authorizer: httpx.Client, payment_token: str, deployment: Deployment
) -> None:
    receipt = complete(authorizer, payment_token).json()["receipt"]

    # It is sealed within a second or so.
    deadline = time.monotonic() + 30
    while True:
        proven = deployment.run_here("audit", "prove", receipt, check=False)
        if proven.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.2)

    assert proven.returncode == 0, proven.stderr
    assert "authorization_completed" in proven.stdout


def test_of_a_revoked_token_it_is_over_already(
    authorizer: httpx.Client, payment_token: str, completing: RunningService
) -> None:
    with completing.public() as pos:
        pos.delete(f"/v1/payment-tokens/{payment_token}")

    answer = complete(authorizer, payment_token)

    assert (answer.status_code, answer.json()["sad_status"]) == (200, "destroyed")


def test_what_the_url_names_is_nowhere_in_the_log(
    authorizer: httpx.Client, completing: RunningService
) -> None:
    number = PUBLISHED_CARDS[0].pan
    answer = complete(authorizer, number)

    assert (answer.status_code, answer.json()["code"]) == (404, "token_not_found")
    assert number not in answer.text
    assert not any(number in line for line in list(completing.log_lines))


async def test_the_python_client_completes_it(
    completing: RunningService, folder: Path, payment_token: str
) -> None:
    tls = worker_tls(folder / "ca.pem", folder / "authorizer.pem", folder / "authorizer-key.pem")
    with WorkerClient(completing.urls["internal"], tls=tls) as worker:
        first = worker.complete_authorization(payment_token, MERCHANT, "cancelled")
        with pytest.raises(errors.InvalidFieldError):
            worker.complete_authorization(payment_token, MERCHANT, "lost")
        with pytest.raises(errors.TokenNotFoundError):
            worker.complete_authorization("../decrypt", MERCHANT, "approved")
        with pytest.raises(errors.ForbiddenError):
            worker.complete_authorization(payment_token, "m_other", "approved")
    async with AsyncWorkerClient(completing.urls["internal"], tls=tls) as worker:
        second = await worker.complete_authorization(payment_token, MERCHANT, "approved")

    assert first.sad_status == second.sad_status == "destroyed"
    assert first.sad_destroyed_at == second.sad_destroyed_at is not None
    assert first.unrecoverable_from == second.unrecoverable_from is not None
    assert first.receipt != second.receipt


def test_a_row_that_stays_locked_is_an_outage_and_ends_nothing(
    deployment: Deployment, folder: Path, payment_token: str
) -> None:
    with (
        serving(deployment, folder) as service,
        client_of(service, folder) as authorizer,
        psycopg.connect(deployment_url(deployment.settings), autocommit=True) as database,
    ):
        database.execute("BEGIN")
        database.execute(
            "SELECT FROM payment_tokens WHERE token_id = %s FOR UPDATE", (payment_token,)
        )
        answer = complete(authorizer, payment_token)
        database.execute("ROLLBACK")
        again = complete(authorizer, payment_token)

    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "Retry-After" in answer.headers
    assert (again.status_code, again.json()["sad_status"]) == (200, "destroyed")
