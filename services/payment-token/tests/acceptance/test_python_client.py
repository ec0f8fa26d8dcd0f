"""The Python client against the service as it runs: real TLS, crashes, outages, wrong certificates."""

import asyncio
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from payment_token_client import (
    AsyncClient,
    AsyncWorkerClient,
    Client,
    ClientError,
    CreateItem,
    DecryptItem,
    PaymentToken,
    Release,
    RetryPolicy,
    WorkerClient,
    worker_tls,
)
from payment_token_client.errors import (
    ERRORS,
    ConnectionFailedError,
    DatabaseUnavailableError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    TLSRefusedError,
    TokenNotFoundError,
    TokenRevokedError,
    UnauthenticatedError,
)

from payment_token.api.errors import ANSWERS
from tests.support.certificates import Authority, uri
from tests.support.databases import own_database
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.postgres_proxy import postgres_proxy_beside
from tests.support.problems import PAN

PAGE = Path(__file__).resolve().parents[4] / "docs" / "workers.md"
PATIENT = RetryPolicy(total=60, read=20, attempts=60, longest_backoff=1)


def client_of(service: RunningService, policy: RetryPolicy | None = None) -> Client:
    return Client(service.urls["public"], service.deployment.api_key, policy=policy)


def worker_of(
    service: RunningService,
    certificates: Path | None = None,
    name: str = "worker",
    policy: RetryPolicy | None = None,
) -> WorkerClient:
    folder = service.deployment.folder
    where = certificates or folder
    return WorkerClient(
        service.urls["internal"],
        tls=worker_tls(folder / "ca.pem", where / f"{name}.pem", where / f"{name}-key.pem"),
        policy=policy,
    )


def arguments(deployment: Deployment) -> dict[str, Any]:
    """Those of a create, of a new terminal."""
    return reads_of(deployment, 1)[0]


def reads_of(deployment: Deployment, number: int) -> list[dict[str, Any]]:
    """Those of creates of one terminal, read after read."""
    names = ("merchant_id", "device_id", "encrypted_payload")
    return [{name: body[name] for name in names} for body in deployment.bodies(number)]


def test_every_code_of_the_service_has_its_class() -> None:
    assert {kind.code for kind in ANSWERS} == set(ERRORS)


def test_from_create_to_delete(service: RunningService) -> None:
    with client_of(service) as client, worker_of(service) as worker:
        token = client.create(**arguments(service.deployment), metadata={"order": "A-100"})
        assert token.card.last4 == "1111"
        assert not token.replayed
        seen = client.get(token.payment_token)
        assert (seen.card, seen.expires_at, seen.metadata) == (
            token.card,
            token.expires_at,
            {"order": "A-100"},
        )

        fields = ("pan", "expiry", "sad")
        released = worker.decrypt(token.payment_token, MERCHANT, "authorization", fields=fields)
        assert released.pan is not None
        assert released.pan.reveal() == "4111111111111111"
        assert (released.exp_month, released.exp_year) == (12, 2030)
        assert released.sad_status == "live"
        assert released.sad is not None
        assert PAN not in repr(released)
        again = worker.decrypt(token.payment_token, MERCHANT, "authorization")
        assert again.pan == released.pan
        assert again.audit_receipt != released.audit_receipt
        assert again.sad is None

        client.delete(token.payment_token)
        client.delete(token.payment_token, MERCHANT)
        with pytest.raises(TokenRevokedError) as caught:
            worker.decrypt(token.payment_token, MERCHANT, "authorization")
        assert caught.value.payment_token == token.payment_token


async def test_from_create_to_delete_over_asyncio(service: RunningService, tmp_path: Path) -> None:
    folder, internal = service.deployment.folder, service.urls["internal"]
    Authority(tmp_path).issue("foreign", [uri("spiffe://payment-token.example/worker/demo")])
    tls = worker_tls(folder / "ca.pem", folder / "worker.pem", folder / "worker-key.pem")
    foreign = worker_tls(folder / "ca.pem", tmp_path / "foreign.pem", tmp_path / "foreign-key.pem")
    async with (
        AsyncClient(service.urls["public"], service.deployment.api_key) as client,
        AsyncWorkerClient(internal, tls=tls) as worker,
        AsyncWorkerClient(internal, tls=foreign) as stranger,
    ):
        token = await client.create(**arguments(service.deployment))
        assert await client.get(token.payment_token) is not None
        releases = await asyncio.gather(
            *(worker.decrypt(token.payment_token, MERCHANT, "capture") for _ in range(20))
        )
        assert {release.pan.reveal() for release in releases if release.pan} == {"4111111111111111"}
        assert len({release.audit_receipt for release in releases}) == 20
        with pytest.raises(TLSRefusedError):
            await stranger.decrypt(token.payment_token, MERCHANT, "capture")
        await client.delete(token.payment_token)
        with pytest.raises(TokenRevokedError):
            await worker.decrypt(token.payment_token, MERCHANT, "capture")


def test_refusals_have_their_classes(service: RunningService) -> None:
    create = arguments(service.deployment)
    with client_of(service) as client, worker_of(service) as worker:
        token = client.create(**create, idempotency_key="refusals-1")
        replayed = client.create(**create, idempotency_key="refusals-1")
        assert (replayed.payment_token, replayed.replayed) == (token.payment_token, True)
        with pytest.raises(IdempotencyKeyReusedError) as reused:
            client.create(**create, ttl_seconds=7200, idempotency_key="refusals-1")
        assert reused.value.idempotency_key == "refusals-1"
        with pytest.raises(InvalidFieldError, match="ttl_seconds"):
            client.create(**create, ttl_seconds=-1)
        with pytest.raises(TokenNotFoundError) as unknown:
            client.get("pt_unknown")
        assert unknown.value.request_id
        with pytest.raises(ForbiddenError):
            client.create(**create | {"merchant_id": "m_other"})
        with pytest.raises(ForbiddenError):
            worker.decrypt(token.payment_token, "m_other", "authorization")
        with pytest.raises(InvalidFieldError):
            worker.decrypt(token.payment_token, MERCHANT, "authorization", fields=("pin",))
    with (
        Client(service.urls["public"], "ptk_wrong") as stranger,
        pytest.raises(UnauthenticatedError),
    ):
        stranger.get(token.payment_token)


def test_the_request_id_of_a_worker_is_the_one_in_the_answer(service: RunningService) -> None:
    with worker_of(service) as worker, pytest.raises(TokenNotFoundError) as caught:
        worker.decrypt("pt_unknown", MERCHANT, "authorization", request_id="payment-17")
    assert caught.value.request_id == "payment-17"


def test_a_certificate_that_is_not_accepted_is_tried_once(
    service: RunningService, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.issue("foreign", [uri("spiffe://payment-token.example/worker/demo")])
    with worker_of(service, tmp_path, "foreign") as worker:
        began = time.monotonic()
        with pytest.raises(TLSRefusedError):
            worker.decrypt("pt_unknown", MERCHANT, "authorization")
        assert time.monotonic() - began < 5
    folder = service.deployment.folder
    distrusting = worker_tls(tmp_path / "ca.pem", folder / "worker.pem", folder / "worker-key.pem")
    with (
        WorkerClient(service.urls["internal"], tls=distrusting) as worker,
        pytest.raises(TLSRefusedError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        worker.decrypt("pt_unknown", MERCHANT, "authorization")


def test_a_worker_that_shows_no_certificate_gets_no_answer(service: RunningService) -> None:
    context = ssl.create_default_context(cafile=service.deployment.folder / "ca.pem")
    with (
        WorkerClient(service.urls["internal"], tls=context) as worker,
        pytest.raises(TLSRefusedError),
    ):
        worker.decrypt("pt_unknown", MERCHANT, "authorization")


def test_a_create_goes_on_when_the_service_was_killed_and_comes_back(
    new_deployment: Callable[[], Deployment],
) -> None:
    deployment = new_deployment()
    create = arguments(deployment)
    with deployment.serving() as first:
        address = first.urls["public"].removeprefix("http://")
        with client_of(first, PATIENT) as client:
            token = client.create(**create, idempotency_key="crash-1")
            first.kill()
            answers = list[Any]()
            thread = threading.Thread(
                target=lambda: answers.append(client.create(**create, idempotency_key="crash-1"))
            )
            thread.start()
            with deployment.serving(PUBLIC_ADDRESS=address):
                thread.join()
    assert [(answer.payment_token, answer.replayed) for answer in answers] == [
        (token.payment_token, True)
    ]


def test_a_service_that_stays_away_is_a_failed_connection_with_the_key_to_go_on_with(
    new_deployment: Callable[[], Deployment],
) -> None:
    deployment = new_deployment()
    create = arguments(deployment)
    with deployment.serving() as service, client_of(service, RetryPolicy(total=1)) as client:
        service.kill()
        began = time.monotonic()
        with pytest.raises(ConnectionFailedError) as caught:
            client.create(**create)
        assert time.monotonic() - began < 5
    assert caught.value.idempotency_key


def test_an_outage_says_when_to_come_again_and_a_patient_client_does(
    server_url: str, template: str, tmp_path: Path
) -> None:
    with own_database(server_url, template) as url, postgres_proxy_beside(url) as wire:
        deployment = Deployment.made_in(tmp_path / "d", DATABASE_URL=wire.url)
        with (
            deployment.serving() as service,
            client_of(service, RetryPolicy(attempts=1)) as hasty,
            client_of(service, PATIENT) as patient,
        ):
            token = hasty.create(**arguments(deployment)).payment_token
            wire.go_silent(for_all=True)
            with pytest.raises(DatabaseUnavailableError) as caught:
                hasty.get(token)
            assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
            healing = threading.Timer(1, wire.heal)
            healing.start()
            assert patient.get(token).payment_token == token
            healing.join()


# --- Many at once ----------------------------------------------------------------------------------------------------


def test_more_than_a_batch_comes_back_in_order(service: RunningService) -> None:
    reads = reads_of(service.deployment, 620)
    items = [CreateItem(**read, metadata={"place": str(place)}) for place, read in enumerate(reads)]
    items[7] = CreateItem(**reads[7] | {"merchant_id": "m_other"})
    with (
        client_of(service, PATIENT) as client,
        worker_of(service, policy=PATIENT) as worker,
    ):
        made = list(client.create_many(items))
        again = list(client.create_many(items[:10]))

        assert isinstance(made[7], ForbiddenError)
        assert [one.idempotency_key for one in made] == [item.idempotency_key for item in items]
        tokens = [one for one in made if isinstance(one, PaymentToken)]
        assert len(tokens) == 619
        assert [one.metadata["place"] for one in tokens] == [
            str(place) for place in range(620) if place != 7
        ]
        assert [one.payment_token for one in again if isinstance(one, PaymentToken)] == [
            one.payment_token for one in tokens[:9]
        ]

        asked = [DecryptItem(one.payment_token, MERCHANT, "capture", ["pan"]) for one in tokens]
        asked[3] = DecryptItem("pt_unknown", MERCHANT, "capture")
        released = list(worker.decrypt_many(asked, request_id="many-1"))

    assert isinstance(released[3], TokenNotFoundError)
    assert str(released[3].request_id).startswith("many-1:batch0:item3")
    good = [one for one in released if isinstance(one, Release)]
    assert len(good) == 618
    assert {one.pan.reveal() for one in good if one.pan} == {"4111111111111111"}
    assert PAN not in repr(released)
    assert len({one.audit_receipt for one in good}) == 618


async def test_many_over_asyncio(service: RunningService) -> None:
    reads, folder = reads_of(service.deployment, 30), service.deployment.folder
    tls = worker_tls(folder / "ca.pem", folder / "worker.pem", folder / "worker-key.pem")
    async with (
        AsyncClient(service.urls["public"], service.deployment.api_key, policy=PATIENT) as client,
        AsyncWorkerClient(service.urls["internal"], tls=tls, policy=PATIENT) as worker,
    ):
        made = [one async for one in client.create_many(CreateItem(**read) for read in reads)]
        tokens = [one.payment_token for one in made if isinstance(one, PaymentToken)]
        asked = [DecryptItem(token, MERCHANT, "capture") for token in tokens]
        released = [one async for one in worker.decrypt_many(asked)]

    assert [one.payment_token for one in released if isinstance(one, Release)] == tokens
    assert len(tokens) == 30


def test_many_while_the_database_is_away_are_made_once_it_is_back(
    server_url: str, template: str, tmp_path: Path
) -> None:
    with own_database(server_url, template) as url, postgres_proxy_beside(url) as wire:
        deployment = Deployment.made_in(tmp_path / "d", DATABASE_URL=wire.url)
        items = [CreateItem(**arguments(deployment)) for _ in range(40)]
        with (
            deployment.serving() as service,
            client_of(service, RetryPolicy(attempts=1)) as hasty,
            client_of(service, PATIENT) as patient,
        ):
            wire.go_silent(for_all=True)
            failed = list(hasty.create_many(items))
            assert all(isinstance(one, ClientError) and one.retryable for one in failed)
            healing = threading.Timer(1, wire.heal)
            healing.start()
            made = list(patient.create_many(items))
            healing.join()
    tokens = {one.payment_token for one in made if isinstance(one, PaymentToken)}
    assert len(tokens) == 40


def test_the_worker_of_the_documentation_works_as_it_stands_there(
    service: RunningService, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "demo").symlink_to(service.deployment.folder)
    (tmp_path / "worker.py").write_text(
        program.replace("https://127.0.0.1:8001", service.urls["internal"])
    )
    with client_of(service) as client:
        token = client.create(**arguments(service.deployment)).payment_token

        def run() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "worker.py", token]
            return subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
            )

        first = run()
        assert first.returncode == 0, first.stderr
        assert "pan=<CardText: hidden>" in first.stdout
        assert first.stdout.endswith("ends in 1111\n")
        client.delete(token)
        second = run()
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr.startswith("token_revoked (410): ")
