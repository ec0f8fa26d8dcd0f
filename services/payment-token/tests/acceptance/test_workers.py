"""``serve --workers 2``: several processes behind one set of addresses, which to their callers are one service."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.api.rpc.generated.token_service_pb2 import GetTokenRequest
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import FREE_PORTS, Deployment, RunningService
from tests.support.load import Load
from tests.support.problems import check_nothing_was_a_defect
from tests.support.rpc import rpc_client

PATIENCE_SECONDS = 40
BOTH = {1, 2}

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Of this module's own: only its services hold its database."""
    return Deployment.made_in(tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def service(deployment: Deployment) -> Iterator[RunningService]:
    with deployment.serving("--workers", "2") as running:
        yield running


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def workers(service: RunningService) -> list[int]:
    parent = service.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"serve-one-of-many" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def is_there(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def entries(service: RunningService) -> list[dict[str, object]]:
    return [json.loads(line) for line in list(service.log_lines)]


def ask_until_both_answered(service: RunningService, path: str = "/healthz") -> int:
    """How often it took. Each on a connection of its own."""
    before, asked = len(service.log_lines), 0

    def both_answered() -> bool:
        nonlocal asked
        asked += 1
        assert httpx.get(service.urls["public"] + path).status_code == 200
        return {
            entry["serving_process"]
            for entry in entries(service)[before:]
            if entry["message"] == "request"
        } == BOTH

    eventually(both_answered, "one of the workers gets no requests")
    return asked


def counted(service: RunningService, route: str) -> float:
    shown = httpx.get(service.urls["metrics"] + "/metrics").text
    found = re.findall(rf'requests_total{{.*route="{route}".*}} (\S+)', shown)
    return sum(map(float, found))


def test_both_answer_and_each_listener_is_announced_once(service: RunningService) -> None:
    ask_until_both_answered(service)
    ask_until_both_answered(service, "/readyz")

    announced = Counter(
        entry["listener"] for entry in entries(service) if entry["message"] == "listening"
    )
    assert announced == dict.fromkeys(
        ("public", "public_grpc", "internal", "internal_grpc", "metrics"), 1
    )


def test_both_answer_over_grpc(service: RunningService) -> None:
    before = len(service.log_lines)

    def both_answered() -> bool:
        with rpc_client(service.urls["public_grpc"]) as client:
            answer = client.call("GetToken", GetTokenRequest(payment_token="unknown"))
        assert answer.code == "unauthenticated"
        return {
            entry["serving_process"]
            for entry in entries(service)[before:]
            if entry["message"] == "request" and entry["listener"] == "public_grpc"
        } == BOTH

    eventually(both_answered, "one of the workers gets no calls")


def test_they_settle_on_the_same_first_keys_and_each_holds_a_lease(
    service: RunningService, deployment: Deployment
) -> None:
    with EmbeddedServer(deployment.folder) as server, psycopg.connect(server.url) as database:
        keys = database.execute("SELECT purpose, count(*) FROM encryption_keys GROUP BY 1")
        assert set(keys.fetchall()) == {("service", 1), ("index", 1), ("audit-signing", 1)}
        held = database.execute("SELECT count(*) FROM key_holders WHERE lease_until > now()")
        assert held.fetchone() == (2,)


def test_metrics_are_of_all_whoever_is_asked(service: RunningService) -> None:
    before = counted(service, "/v1/payment-tokens/{payment_token}")
    with service.public() as client:
        path = "/v1/payment-tokens/unknown"
        assert client.get(path).status_code == 404
    for _ in range(19):
        with service.public() as client:
            assert client.get(path).status_code == 404

    for _ in range(10):
        eventually(
            lambda: counted(service, "/v1/payment-tokens/{payment_token}") == before + 20,
            "a worker does not count the others' requests",
        )


def test_a_worker_that_is_killed_costs_its_connections_and_is_replaced(
    service: RunningService, deployment: Deployment
) -> None:
    before = counted(service, "/v1/payment-tokens")
    with Load(deployment, service.urls["public"]) as load:
        load.wait_for_progress()
        victim, survivor = workers(service)
        os.kill(victim, signal.SIGKILL)
        load.wait_for_progress()
        eventually(lambda: len(set(workers(service)) - {victim}) == 2, "the worker is not replaced")
        load.wait_for_progress()
        assert survivor in workers(service)
        ask_until_both_answered(service)
    load.settle()

    assert load.statuses <= {200, 201}
    assert all(len(operation.acknowledged) == 1 for operation in load.operations)
    assert counted(service, "/v1/payment-tokens") >= before + load.acknowledged()
    died = [entry for entry in entries(service) if "died" in str(entry["message"])]
    assert [entry["exit_status"] for entry in died] == [-signal.SIGKILL]


def test_a_hangup_has_every_worker_read_its_policy_again(service: RunningService) -> None:
    before = len(service.log_lines)

    service.process.send_signal(signal.SIGHUP)

    eventually(
        lambda: (
            {
                entry["serving_process"]
                for entry in entries(service)[before:]
                if entry["message"] == "worker policy reloaded"
            }
            == BOTH
        ),
        "a worker keeps its old policy",
    )


def test_an_address_that_workers_share_is_taken_for_everybody_else(
    service: RunningService, deployment: Deployment
) -> None:
    taken = service.urls["public"].removeprefix("http://")

    refused = deployment.run("serve", "--workers", "2", check=False, PUBLIC_ADDRESS=taken)

    assert refused.returncode == 1
    assert f"Public: cannot listen on {taken}: Address already in use." in refused.stderr


def test_what_stops_one_stops_all_and_is_said_once(
    service: RunningService, deployment: Deployment
) -> None:
    wrong = FREE_PORTS | {"CLIENT_CA_FILE": "/nowhere.pem"}
    refused = deployment.run("serve", "--workers", "2", check=False, **wrong)

    assert refused.returncode == 1
    assert refused.stderr.count("Error: ") == 1
    assert "CLIENT_CA_FILE, CLIENT_CRL_FILE: No such file or directory" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_when_told_to_end_they_finish_what_they_began(
    service: RunningService, deployment: Deployment
) -> None:
    check_nothing_was_a_defect(service)
    processes = workers(service)
    with Load(deployment, service.urls["public"]) as load:
        load.wait_for_progress()
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 20

    assert load.statuses == {201}
    assert not any(map(is_there, processes))
    # Nor did a line of one ever tear a line of another.
    assert all(entry["message"] for entry in entries(service))


def test_nothing_outlives_a_parent_that_was_killed(deployment: Deployment) -> None:
    with deployment.serving("--workers", "2") as service:
        postmaster = EmbeddedServer(deployment.folder).postmaster_pid
        (folder,) = {
            variable
            for process in workers(service)
            for variable in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            if variable.startswith(b"PROMETHEUS_MULTIPROC_DIR=")
        }
        counts = Path(os.fsdecode(folder).partition("=")[2])
        left = workers(service)
        assert len(left) == 2
        assert counts.stat().st_mode & 0o777 == 0o700

        service.kill()

        eventually(lambda: not any(map(is_there, left)), "a worker outlives its parent")
        assert postmaster is not None
        eventually(lambda: not is_there(postmaster), "PostgreSQL outlives the service")
        assert not counts.exists()
