"""What is in the audit log besides releases: who changed what there is, and who may have it."""

import json
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import Deployment, RunningService


@pytest.fixture(scope="module")
def database(deployment: Deployment) -> Iterator[psycopg.Connection]:
    with psycopg.connect(deployment_url(deployment.settings), autocommit=True) as connection:
        yield connection


def records(database: psycopg.Connection, event: str) -> list[dict[str, Any]]:
    cursor = database.cursor(row_factory=dict_row)
    return cursor.execute(
        "SELECT * FROM audit_records WHERE event = %s ORDER BY recorded_at", (event,)
    ).fetchall()


def test_a_revoked_token(
    deployment: Deployment, service: RunningService, database: psycopg.Connection
) -> None:
    with service.public() as pos:
        token = service.create(pos, deployment.body()).json()["payment_token"]
        for _ in range(2):
            answer = pos.delete(f"/v1/payment-tokens/{token}", headers={"X-Request-ID": "end-it"})
            assert answer.status_code == 204
        unknown = "pt_dbjthkgnpfsqmnqrpdtdfkfcgtdhhdpchcdv"
        assert pos.delete(f"/v1/payment-tokens/{unknown}").status_code == 404

    (record,) = (
        record for record in records(database, "token_revoked") if record["token_id"] == token
    )
    assert record["merchant_id"] == "m_demo"
    assert (record["outcome"], record["request_id"]) == ("done", "end-it")
    assert record["identity"].startswith("api-key:")
    assert record["identity"].removeprefix("api-key:") in deployment.api_key
    assert record["source"].startswith("127.0.0.1:")


def test_api_keys(deployment: Deployment, database: psycopg.Connection) -> None:
    made = deployment.run_here("api-keys", "create", "--merchant", "m_9", "--name", "till 9")
    key_id = made.stdout.split("_")[1]
    for _ in range(2):
        deployment.run_here("api-keys", "revoke", key_id)

    (created,) = _of_key(records(database, "api_key_created"), key_id)
    ended = created["details"].pop("expires_at")
    assert created["details"] == {
        "key_id": key_id,
        "name": "till 9",
        "merchants": "m_9",
        "scopes": "tokens:read,tokens:write",
        "rate": "unlimited",
    }
    assert database.execute(
        "SELECT expires_at = %s FROM api_keys WHERE key_id = %s", (ended, key_id)
    ).fetchone() == (True,)
    assert created["identity"].startswith("operator:")
    (revoked,) = _of_key(records(database, "api_key_revoked"), key_id)
    assert made.stdout.strip() not in json.dumps([created, revoked], default=str)


def _of_key(found: list[dict[str, Any]], key_id: str) -> list[dict[str, Any]]:
    return [record for record in found if record["details"]["key_id"] == key_id]


def test_the_keys_of_a_new_deployment_and_a_rotation(
    deployment: Deployment, service: RunningService, database: psycopg.Connection
) -> None:
    deployment.run_here("keys", "rotate", "--purpose", "index")

    changes = [
        (record["details"]["key"], record["key_name"], record["details"]["change"])
        for record in records(database, "key_changed")
    ]
    for purpose in ("audit-signing", "service", "index"):
        assert (purpose, "v1", "created") in changes
        assert (purpose, "v1", "activated") in changes
    assert changes[-2:] == [("index", "v2", "created"), ("index", "v2", "activated")]


def test_a_policy_that_is_read_again(
    deployment: Deployment, service: RunningService, database: psycopg.Connection
) -> None:
    before = len(records(database, "policy_loaded"))
    assert before > 0, "the one that it started with"
    policy = deployment.folder / "policy.toml"
    policy.write_text(policy.read_text() + "# as before\n")
    service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 5
    while len(records(database, "policy_loaded")) < before + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    first, *_, last = records(database, "policy_loaded")
    assert first["details"]["policy_sha256"] != last["details"]["policy_sha256"]
    assert last["details"]["policy_sha256"] == sha256(policy.read_bytes()).hexdigest()
    assert last["details"]["workers"] == 1


def test_every_writer_begins_and_ends(
    deployment: Deployment, service: RunningService, database: psycopg.Connection
) -> None:
    deployment.run_here("api-keys", "create", "--merchant", "m_10")

    events = dict(
        database.execute(
            "SELECT writer_id, array_agg(event ORDER BY sequence) FROM audit_records GROUP BY writer_id"
        ).fetchall()
    )
    assert all(of_writer[0] == "log_opened" for of_writer in events.values())
    ended = [of_writer for of_writer in events.values() if of_writer[-1] == "log_closed"]
    assert ["log_opened", "api_key_created", "log_closed"] in ended


def test_a_bdk(deployment: Deployment, database: psycopg.Connection) -> None:
    register = ("bdk", "register", "--id", "again", "--key", "local:default-aes-256")
    deployment.run_here(*register, "--algorithm", "aes-256", "--ksn-prefix", "AB")
    deployment.run_here("bdk", "retire", "again")
    assert deployment.run_here("bdk", "retire", "again", check=False).returncode == 1

    changes = [
        record["details"]["change"]
        for record in records(database, "key_changed")
        if record["key_name"] == "again"
    ]
    assert changes == ["registered", "retired"]
