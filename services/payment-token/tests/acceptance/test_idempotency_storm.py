"""One idempotency key yields one token, whatever races."""

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.long_form import usual_or_long

CLIENTS = 200
KEYS = 100
ROUNDS = usual_or_long(4, 24)

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def services(
    deployment: Deployment, service: RunningService
) -> Iterator[tuple[RunningService, ...]]:
    """Two processes on one database."""
    with deployment.serving("--only", "public") as second:
        yield service, second


def test_a_storm(deployment: Deployment, services: tuple[RunningService, ...]) -> None:
    chance = random.Random(7)  # noqa: S311 - a seed, so that a failure can be repeated
    prefix = uuid.uuid4().hex
    bodies = {
        f"{prefix}-{number}": (deployment.body(), deployment.body()) for number in range(KEYS)
    }
    requests = [
        (
            key,
            pair[index],
            index,
            services[index].urls["public"] if chance.random() < 0.5 else services[0].urls["public"],
        )
        for key, pair in bodies.items()
        for index in (0, 1)
        for _ in range(CLIENTS * ROUNDS // KEYS // 2)
    ]
    chance.shuffle(requests)

    answers = asyncio.run(storm(deployment.api_key, requests))

    assert {answer.status_code for _, _, answer in answers} <= {200, 201, 409, 422}
    by_key: dict[str, list[tuple[int, httpx.Response]]] = defaultdict(list)
    for key, index, answer in answers:
        by_key[key].append((index, answer))
    for key, group in by_key.items():
        (winner,) = (index for index, answer in group if answer.status_code == 201)
        tokens = {answer.json()["payment_token"] for _, answer in group if answer.is_success}
        assert len(tokens) == 1, key
        for index, answer in group:
            if answer.status_code == 422:
                assert answer.json()["code"] == "idempotency_key_reused"
                assert index != winner
            elif answer.status_code == 409:
                assert "Retry-After" in answer.headers
            else:
                assert index == winner
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        claims = database.execute(
            "SELECT count(*), count(DISTINCT token_id) FROM token_idempotency_keys WHERE idempotency_key LIKE %s",
            (f"{prefix}-%",),
        ).fetchone()
        tokens = database.execute(
            "SELECT count(*) FROM payment_tokens JOIN token_idempotency_keys USING (merchant_id, token_id)"
            " WHERE idempotency_key LIKE %s",
            (f"{prefix}-%",),
        ).fetchone()
    assert claims == (KEYS, KEYS)
    assert tokens == (KEYS,)


async def storm(
    api_key: str, requests: list[tuple[str, dict[str, Any], int, str]]
) -> list[tuple[str, int, httpx.Response]]:
    queue = list(requests)
    answers: list[tuple[str, int, httpx.Response]] = []
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(
        headers={"Authorization": f"Bearer {api_key}"}, limits=limits, timeout=60
    ) as client:

        async def one_client() -> None:
            while queue:
                key, body, index, url = queue.pop()
                try:
                    answer = await client.post(
                        f"{url}/v1/payment-tokens", json=body, headers={"Idempotency-Key": key}
                    )
                except httpx.ReadError:
                    # The server has closed a connection that was idle just as it was used again: nothing was read of it.
                    queue.append((key, body, index, url))
                    continue
                answers.append((key, index, answer))

        await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
    return answers


def hold_claim(database: psycopg.Connection, key: str) -> None:
    """Another request of this key, in the middle of its transaction."""
    database.execute(
        "INSERT INTO token_idempotency_keys"
        " (merchant_id, idempotency_key, token_id, fingerprint, fingerprint_key, created_at, expires_at)"
        " VALUES (%s, %s, %s, '', 'v1', now(), now() + interval '1 hour')",
        (MERCHANT, key, "pt_" + "b" * 36),
    )


def test_a_request_that_waits_too_long_is_told_to_come_again(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    key, body = uuid.uuid4().hex, deployment.body()
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        hold_claim(database, key)
        started = time.monotonic()
        waiting = service.create(pos, body, key)
        waited = time.monotonic() - started
        database.rollback()

    assert (waiting.status_code, waiting.json()["code"]) == (409, "idempotency_in_progress")
    assert waiting.headers["Retry-After"] == "1"
    assert waited >= 1.9
    assert service.create(pos, body, key).status_code == 201


def test_a_request_takes_over_from_one_that_failed(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    key = uuid.uuid4().hex
    with (
        psycopg.connect(deployment_url(deployment.settings)) as database,
        ThreadPoolExecutor() as pool,
    ):
        hold_claim(database, key)
        waiting = pool.submit(service.create, pos, deployment.body(), key)
        time.sleep(0.5)
        assert not waiting.done()
        database.rollback()
        assert waiting.result().status_code == 201


def test_a_failed_request_may_be_corrected_under_its_key(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    key, body = uuid.uuid4().hex, deployment.body()
    wrong = body | {
        "encrypted_payload": body["encrypted_payload"] | {"key_variant": "data-response"}
    }

    assert service.create(pos, wrong, key).json()["code"] == "decryption_failed"
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        claims = database.execute(
            "SELECT count(*) FROM token_idempotency_keys WHERE idempotency_key = %s", (key,)
        ).fetchone()
    assert claims == (0,)
    assert service.create(pos, body, key).status_code == 201


def test_a_key_may_be_used_again_after_its_window(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    key = uuid.uuid4().hex
    first = service.create(pos, deployment.body(), key)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        database.execute(
            "UPDATE token_idempotency_keys SET expires_at = now() WHERE idempotency_key = %s",
            (key,),
        )

    second = service.create(pos, deployment.body(), key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["payment_token"] != second.json()["payment_token"]


def test_keys_of_different_merchants_are_their_own(
    deployment: Deployment, service: RunningService
) -> None:
    key = uuid.uuid4().hex
    secret = deployment.run_here(
        "api-keys", "create", "--merchant", MERCHANT, "--merchant", "m_2"
    ).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as both:
        answers = [
            service.create(both, deployment.body(merchant_id=merchant), key)
            for merchant in (MERCHANT, "m_2")
        ]

    assert [answer.status_code for answer in answers] == [201, 201]


def test_a_retry_is_answered_whatever_became_of_the_device(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    key, body = uuid.uuid4().hex, deployment.body(device_id="till-lost")
    first = service.create(pos, body, key)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        database.execute(
            "INSERT INTO devices (merchant_id, device_id, state, profile, initial_key_ids)"
            " VALUES (%s, 'till-lost', 'stolen', '{}', '{}')",
            (MERCHANT,),
        )

    assert service.create(pos, body).json()["code"] == "device_suspended"
    again = service.create(pos, body, key)
    assert (again.status_code, again.json()) == (200, first.json())
