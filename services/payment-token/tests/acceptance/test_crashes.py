"""``kill -9`` in the middle of a load: no acknowledged token is lost, and none is made twice."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import Deployment, RunningService
from tests.support.load import Load
from tests.support.long_form import usual_or_long

pytestmark = pytest.mark.chaos

_EACH = ("service", "postmaster", "backend", "service", "postmaster", "service", "backend")
CRASHES = usual_or_long(_EACH, _EACH * 3)


@pytest.fixture
def crashed(tmp_path: Path) -> Deployment:
    """A deployment of this test's own. The test's process does not hold its database: only the service does."""
    return Deployment.made_in(tmp_path / "deployment")


def test_no_acknowledged_token_is_lost_and_none_is_made_twice(crashed: Deployment) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(crashed.serving())
        with Load(crashed, service.urls["public"]) as load:
            for crash in CRASHES:
                load.wait_for_progress()
                if crash == "service":
                    service.kill()
                    service = stack.enter_context(crashed.serving())
                    load.url = service.urls["public"]
                else:
                    kill_postgres(crashed, backend=crash == "backend")
            load.wait_for_progress()
        load.settle()
        wait_until_ready(service)

        assert load.statuses <= {200, 201, 409, 503}
        assert all(len(operation.acknowledged) == 1 for operation in load.operations)
        with service.worker() as worker:
            for operation in load.operations:
                (token,) = operation.acknowledged
                released = service.release(worker, token)
                assert released.status_code == 200, released.text
                assert released.json()["payment_data"]["pan"] == operation.pan
        with EmbeddedServer(crashed.folder) as server, psycopg.connect(server.url) as database:
            counts = database.execute(
                "SELECT count(*), count(DISTINCT token_id),"
                " (SELECT count(*) FROM token_idempotency_keys),"
                " (SELECT count(*) FROM audit_records WHERE outcome = 'released') FROM payment_tokens"
            ).fetchone()
    made = len(load.operations)
    assert counts == (made, made, made, made)


def test_live_sad_survives_a_crash_of_the_database(crashed: Deployment) -> None:
    with crashed.serving() as service, service.public() as pos:
        token = service.create(pos, crashed.body()).json()["payment_token"]
        kill_postgres(crashed, backend=False)
        wait_until_ready(service)

        with service.worker() as worker:
            assert sad_of(service, worker, token) == ("live", PUBLISHED_CARDS[0].track2)
        with crashed.serving() as newcomer, newcomer.worker() as worker:
            assert sad_of(newcomer, worker, token) == ("live", PUBLISHED_CARDS[0].track2)


def test_sad_dies_when_database_and_processes_crash_together(crashed: Deployment) -> None:
    with crashed.serving() as service, service.public() as pos:
        token = service.create(pos, crashed.body()).json()["payment_token"]
        service.kill()
        kill_postgres(crashed, backend=False)

    with crashed.serving() as service, service.worker() as worker:
        assert sad_of(service, worker, token) == ("destroyed", None)


def sad_of(service: RunningService, worker: httpx.Client, token: str) -> tuple[str, str | None]:
    data = service.release(worker, token, fields=["pan", "sad"]).json()["payment_data"]
    assert data["pan"] == PUBLISHED_CARDS[0].pan
    return data["sad_status"], data["sad"] and data["sad"]["track2"]


def kill_postgres(deployment: Deployment, *, backend: bool) -> None:
    """The postmaster, or one of its processes, whose death makes it restart all others."""
    postmaster = EmbeddedServer(deployment.folder).postmaster_pid
    assert postmaster is not None
    victim = postmaster
    if backend:
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        victim = next(
            int(child)
            for child in children
            if b"payment_tokens" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
    os.kill(victim, signal.SIGKILL)


def wait_until_ready(service: RunningService) -> None:
    deadline = time.monotonic() + 30
    with httpx.Client(base_url=service.urls["public"]) as anybody:
        while anybody.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the service does not become ready again"
            time.sleep(0.1)
