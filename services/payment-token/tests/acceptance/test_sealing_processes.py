"""The sealer as an operator runs it: alone, within a development deployment, beside many workers."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import VerifierKey, split_notes
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import Deployment

ORIGIN = "payment-token/development/decrypt-audit"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.made_in(tmp_path_factory.mktemp("sealing"))


@pytest.fixture(scope="module")
def url(deployment: Deployment) -> Iterator[str]:
    with EmbeddedServer(deployment.folder) as server:
        yield server.url


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _unsealed(database: psycopg.Connection) -> int:
    row = database.execute(
        "SELECT (SELECT count(*) FROM decrypt_audit_log) - coalesce((SELECT max(tree_size) FROM audit_seals), 0)"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _published(deployment: Deployment) -> list[Checkpoint]:
    """Each verified with the keys that the command gives to an auditor."""
    keys = [VerifierKey.parse(line) for line in deployment.run_here("audit", "keys").stdout.split()]
    notes = split_notes((deployment.folder / "audit-checkpoints").read_text())
    return [Checkpoint.verified(note, ORIGIN, keys) for note in notes]


def test_a_development_deployment_seals_what_it_releases(
    deployment: Deployment, database: psycopg.Connection
) -> None:
    with deployment.serving() as service:
        with service.public() as pos, service.worker() as worker:
            token = service.create(pos, deployment.body()).json()["payment_token"]
            assert service.release(worker, token).status_code == 200
        _until(lambda: _unsealed(database) == 0)
        metrics = httpx.get(service.urls["metrics"] + "/metrics").text
        assert re.search(r"^payment_token_audit_tree_size [1-9]", metrics, re.MULTILINE)
        assert re.search(r"^payment_token_audit_sealed_records_total [1-9]", metrics, re.MULTILINE)
        assert "payment_token_audit_refused_writers 0.0" in metrics
        assert "payment_token_audit_seal_lag_seconds" in metrics

    sealed = database.execute("SELECT tree_size, root FROM audit_seals ORDER BY tree_size")
    published = _published(deployment)
    assert [(found.size, found.root) for found in published] == sealed.fetchall()
    assert not any("critical" in line.lower() for line in service.log_lines)


def test_a_process_that_only_seals_opens_no_key_but_its_own(
    deployment: Deployment, database: psycopg.Connection, tmp_path: Path
) -> None:
    nothing = str(tmp_path / "nothing")
    before = database.execute("SELECT count(*) FROM key_holders").fetchone()
    deployment.run_here("audit", "search")
    assert _unsealed(database) > 0
    with deployment.serving(
        "--only", "sealer", WORKER_POLICY_FILE=nothing, INTERNAL_TLS_CERT_FILE=nothing
    ) as service:
        assert set(service.urls) == {"metrics"}
        _until(lambda: _unsealed(database) == 0)
        assert httpx.get(service.urls["metrics"] + "/readyz").json() == {"status": "ready"}
        metrics = httpx.get(service.urls["metrics"] + "/metrics").text
        assert "payment_token_audit_tree_size" in metrics
        # It holds no lease: no rotation of another key waits for it.
        assert database.execute("SELECT count(*) FROM key_holders").fetchone() == before
        assert service.stop() == 0
    assert _published(deployment)


def test_of_many_workers_one_seals(deployment: Deployment, database: psycopg.Connection) -> None:
    with deployment.serving("--workers", "2") as service:
        deployment.run_here("audit", "search")
        _until(lambda: _unsealed(database) == 0)
        sealers = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'payment-token sealer'"
        )
        assert sealers.fetchone() == (1,)
        _until(
            lambda: re.search(
                r"^payment_token_audit_tree_size [1-9]",
                httpx.get(service.urls["metrics"] + "/metrics").text,
                re.MULTILINE,
            )
        )


def test_a_sealer_that_finds_a_bad_record_is_not_ready(
    deployment: Deployment, database: psycopg.Connection
) -> None:
    database.execute(
        "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (gen_random_uuid(), 0, '{}')"
    )
    with deployment.serving("--only", "sealer") as service:
        ready = service.urls["metrics"] + "/readyz"
        _until(
            lambda: httpx.get(ready).json().get("failing", {}).get("audit_writers")
            == "audit_writer_refused"
        )
        alarms = [json.loads(line) for line in service.log_lines if "not what it must be" in line]
    assert [(alarm["level"].lower(), alarm["fault"]) for alarm in alarms] == [
        ("critical", "not_a_record")
    ]


def test_keys_are_those_of_the_signatures(deployment: Deployment) -> None:
    shown = deployment.run_here("audit", "keys").stdout.splitlines()

    assert len(shown) == 1
    assert shown[0].startswith(f"{ORIGIN}+")
    assert shown[0] == str(VerifierKey.parse(shown[0]))


def test_a_deployment_without_a_key_says_so(tmp_path: Path, database_url: str) -> None:
    empty = Deployment(tmp_path, {"DATABASE_URL": database_url})
    (tmp_path / ".env").write_text("ENVIRONMENT=development\n")

    none = empty.run_here("audit", "keys", check=False)

    assert none.returncode == 1
    assert "no key yet" in none.stderr
