"""A process whose cryptography gives a wrong answer: it stays up, says so, and uses no key."""

import json
import uuid
from collections.abc import Callable

import httpx
import psycopg
import pytest

from payment_token.bootstrap.listeners import Role, build_listeners, serving
from payment_token.bootstrap.service import Service
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.self_test import SelfTestResult
from payment_token.infrastructure.custody.self_tested import self_tested
from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import (
    FREE_PORTS,
    MERCHANT,
    Deployment,
    RunningService,
    client_context,
)
from tests.support.problems import check_problem

CARD = PUBLISHED_CARDS[0]
# The service as it is, but for one bit of one mask: an error that no exception tells of.
PROGRAM = """
from payment_token.domain.dukpt import tdes
tdes._TRANSFORM_MASK ^= 2
from payment_token.cli.main import main
main()
"""
BROKEN = ("-c", PROGRAM)


def read(deployment: Deployment) -> dict[str, object]:
    return deployment.terminal("default-tdes-2key").create_body(MERCHANT, CARD, PartFormat.TRACK2)


def check_stopped(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "key_custodian_unavailable")
    assert "self-test failed" in answer.json()["detail"]
    check_problem(answer)


def leases(deployment: Deployment, process_id: int) -> int:
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM key_holders WHERE description LIKE %s",
            (f"process {process_id} %",),
        ).fetchone() or (0,)
    return int(count)


def test_a_process_that_derives_wrong_keys_uses_none(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body, key = read(deployment), str(uuid.uuid4())
    made = service.create(pos, body, key).json()
    other = service.create(pos, read(deployment)).json()
    assert leases(deployment, service.process.pid) == 1

    with deployment.serving(program=BROKEN) as broken:
        with broken.public() as client, broken.worker() as worker:
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["failing"] == {"cryptography": "self_test_failed"}

            # Whatever needs a key: a new read, a retry (its fingerprint is keyed), a release.
            check_stopped(broken.create(client, read(deployment)))
            check_stopped(broken.create(client, body, key))
            check_stopped(broken.create(client, deployment.body()))
            check_stopped(broken.release(worker, made["payment_token"]))

            # What needs none goes on: the view, the shredding, and what is refused before a key is asked for.
            assert client.get(f"/v1/payment-tokens/{made['payment_token']}").status_code == 200
            assert client.delete(f"/v1/payment-tokens/{other['payment_token']}").status_code == 204
            refused = broken.create(client, deployment.body(ttl_seconds=0))
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")
        # No rotation waits for a process that has no key.
        assert leases(deployment, broken.process.pid) == 0
        assert broken.stop() == 0

    critical = [line for line in broken.log_lines if '"level": "critical"' in line]
    assert len(critical) == 1
    assert set(json.loads(critical[0])["failed"]) == {
        "TDES DUKPT, initial key",
        "TDES DUKPT, transaction key",
        "TDES DUKPT, data",
        "TDES DUKPT, MAC",
    }
    assert not [line for line in broken.log_lines if '"exception"' in line]
    # The sound process beside it serves what the broken one refused, and nothing was lost.
    assert service.create(pos, body, key).json() == made


def test_a_new_deployment_gets_no_keys_from_a_broken_process(
    new_deployment: Callable[[], Deployment],
) -> None:
    deployment = new_deployment()
    with deployment.serving(program=BROKEN) as broken:
        with broken.public() as client:
            assert client.get("/readyz").json()["failing"] == {"cryptography": "self_test_failed"}
        with psycopg.connect(deployment_url(deployment.settings)) as database:
            assert database.execute("SELECT count(*) FROM encryption_keys").fetchone() == (0,)


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "rotate"),
        ("bdk", "show", "default-aes-128"),
        (
            "bdk",
            "register",
            "--id",
            "x",
            "--key",
            "local:default-aes-256",
            "--algorithm",
            "aes-256",
        ),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_commands_that_need_a_key_are_refused(
    deployment: Deployment,
    service: RunningService,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    url = deployment_url(deployment.settings)
    with psycopg.connect(url, autocommit=True) as database:
        count = "SELECT (SELECT count(*) FROM encryption_keys), (SELECT count(*) FROM base_derivation_keys)"
        before = database.execute(count).fetchone()
        monkeypatch.setattr("payment_token.domain.dukpt.tdes._TRANSFORM_MASK", 0)
        refused = deployment.run_here(*command, check=False)
        assert database.execute(count).fetchone() == before
    assert refused.returncode == 1
    assert "a self-test failed" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def own_deployment(new_deployment: Callable[[], Deployment]) -> Deployment:
    """Without the keys that tests of other files have registered."""
    deployment = new_deployment()
    deployment.run_here("keys", "init")
    return deployment


def test_doctor_shows_each_test_and_what_failed(
    own_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = own_deployment.run_here("doctor", COLUMNS="200").stdout
    for name in (
        "AES-256-GCM",
        "Ed25519",
        "TDES DUKPT, data",
        "self-test KEK local:",
        "self-test BDK default-device-aead",
    ):
        assert name in sound
    assert "refused" not in sound

    monkeypatch.setattr("payment_token.domain.self_test.primitives._TDES_BLOCKS", bytes(24))
    failed = own_deployment.run_here("doctor", check=False, COLUMNS="200")
    assert failed.returncode == 1
    (line,) = (line for line in failed.stdout.splitlines() if "refused" in line)
    assert "self-test TDES block" in line


def test_doctor_finds_a_key_that_was_exchanged(own_deployment: Deployment) -> None:
    statement = "UPDATE base_derivation_keys SET key_check_value = %s WHERE bdk_id = %s RETURNING key_check_value"
    url = deployment_url(own_deployment.settings)
    with psycopg.connect(url) as database:
        (value,) = database.execute(
            "SELECT key_check_value FROM base_derivation_keys WHERE bdk_id = 'default-aes-128'"
        ).fetchone() or ("",)
        database.execute(statement, ("ABCDEF", "default-aes-128"))
    try:
        found = own_deployment.run_here("doctor", check=False, COLUMNS="300")
    finally:
        with psycopg.connect(url) as database:
            database.execute(statement, (value, "default-aes-128"))
    assert found.returncode == 1
    (line,) = (line for line in found.stdout.splitlines() if "refused" in line)
    assert "self-test BDK default-aes-128" in line
    assert "another key" in line


async def test_a_failure_in_a_running_process_reaches_what_is_in_memory(
    deployment: Deployment, service: RunningService
) -> None:
    """A custodian that answers wrong later on. Warm keys are no way around it, and recover only with the process."""
    sound = self_tested()
    settings = Deployment(deployment.folder, FREE_PORTS).settings
    terminal = deployment.terminal()
    bodies = [terminal.create_body(MERCHANT, CARD, PartFormat.TRACK2) for _ in range(2)]
    async with Service.started(settings, deployment_url(settings), sound) as running:
        listeners = build_listeners(running, list(Role))
        async with (
            serving(listeners),
            httpx.AsyncClient(
                base_url=listeners.named("public").url,
                headers={"Authorization": f"Bearer {deployment.api_key}"},
            ) as client,
            httpx.AsyncClient(
                base_url=listeners.named("internal").url,
                verify=client_context(deployment.folder, "worker"),
            ) as worker,
        ):

            async def create(body: dict[str, object]) -> httpx.Response:
                headers = {"Idempotency-Key": str(uuid.uuid4())}
                return await client.post("/v1/payment-tokens", json=body, headers=headers)

            async def release(token: str) -> httpx.Response:
                body = {
                    "payment_token": token,
                    "merchant_id": MERCHANT,
                    "purpose": "authorization",
                }
                return await worker.post("/internal/v1/decrypt", json=body)

            created = await create(bodies[0])
            token = created.json()["payment_token"]
            assert (await release(token)).status_code == 200
            assert (await client.get("/readyz")).status_code == 200

            sound.learn([SelfTestResult("KEK local:kek", passed=False, detail="")])

            check_stopped(await create(bodies[1]))
            check_stopped(await release(token))
            ready = await client.get("/readyz")
            assert ready.json()["failing"] == {"cryptography": "self_test_failed"}
