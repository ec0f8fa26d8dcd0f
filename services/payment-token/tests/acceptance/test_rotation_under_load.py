"""Rotation while two processes serve: nothing fails, nothing is written under an old version, every card is right."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.deployment import Deployment, RunningService
from tests.support.load import Load, Readers
from tests.support.long_form import usual_or_long
from tests.support.written_rows import watch_written_rows, written_under_inactive

pytestmark = pytest.mark.chaos

ROTATIONS = usual_or_long(3, 6)


@pytest.fixture
def deployment(new_deployment: Callable[[], Deployment]) -> Deployment:
    """A deployment of this test's own, whose database is watched."""
    made = new_deployment()
    with database_of(made) as database:
        watch_written_rows(database)
    return made


def database_of(deployment: Deployment) -> psycopg.Connection:
    return psycopg.connect(deployment.environment["DATABASE_URL"], autocommit=True)


def test_rotations_under_load_fail_nothing(deployment: Deployment) -> None:
    with ExitStack() as stack:
        services = [stack.enter_context(deployment.serving()) for _ in range(2)]
        loads = [
            Load(deployment, service.urls["public"], clients=2, pause_seconds=0.05)
            for service in services
        ]
        readers = Readers(services, loads)
        with loads[0], loads[1], readers:
            loads[0].wait_for_progress()
            for _ in range(ROTATIONS):
                deployment.run("keys", "rotate")
                loads[1].wait_for_progress()
            deployment.run("keys", "reencrypt")
            retired = deployment.run("keys", "retire", "v1")
            deployment.run("keys", "destroy", "v1", "--confirm", "v1")
            loads[0].wait_for_progress()
            readers.wait_for_progress()
        deployment.run("keys", "reencrypt")

        assert loads[0].statuses | loads[1].statuses == {201}
        assert readers.wrong == []
        assert "0 records" in retired.stdout
        check_all(deployment, services, loads, f"v{ROTATIONS + 1}")


def test_a_process_that_was_paused_across_a_retirement_writes_nothing_under_the_retired_version(
    deployment: Deployment,
) -> None:
    with ExitStack() as stack:
        running, paused = (stack.enter_context(deployment.serving()) for _ in range(2))
        with Load(deployment, paused.urls["public"], clients=3, pause_seconds=0.05) as load:
            load.wait_for_progress()
            os.kill(paused.process.pid, signal.SIGSTOP)
            try:
                # Waits for the lease of the paused process to end, and for the database to end its transactions.
                deployment.run("keys", "rotate")
                deployment.run("keys", "reencrypt")
                deployment.run("keys", "retire", "v1")
            finally:
                os.kill(paused.process.pid, signal.SIGCONT)
            load.wait_for_progress()
        load.settle()

        assert load.statuses <= {200, 201, 409, 503}
        check_all(deployment, [running, paused], [load], "v2")


def check_all(
    deployment: Deployment, services: list[RunningService], loads: list[Load], version: str
) -> None:
    with database_of(deployment) as database:
        assert written_under_inactive(database) == []
        rows = database.execute(
            "SELECT service_key, count(*) FROM payment_tokens GROUP BY 1"
        ).fetchall()
    assert rows == [(version, sum(len(load.operations) for load in loads))]
    operations = [operation for load in loads for operation in load.operations]
    for number, service in enumerate(services):
        with service.worker() as worker:
            for operation in operations[number :: len(services)]:
                (token,) = operation.acknowledged
                released = service.release(worker, token)
                assert released.status_code == 200, released.text
                assert released.json()["payment_data"]["pan"] == operation.pan


def test_the_watch_sees_a_record_under_a_version_that_is_not_active(
    deployment: Deployment,
) -> None:
    with deployment.serving() as service, service.public() as pos:
        token = service.create(pos, deployment.body()).json()["payment_token"]
    with database_of(deployment) as database:
        assert written_under_inactive(database) == []
        database.execute("UPDATE payment_tokens SET service_key = 'v0', sealed_pan = sealed_pan")
        assert written_under_inactive(database) == [(token, "v0")]
