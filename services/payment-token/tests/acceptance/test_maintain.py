"""Maintenance as an operator runs it: by cron, as a process of its own, and as part of a development deployment."""

import json
import re
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.partitions import partition_name
from tests.support.deployment import Deployment, RunningService


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.made_in(tmp_path_factory.mktemp("maintain"))


@pytest.fixture(scope="module")
def url(fresh: Deployment) -> Iterator[str]:
    with EmbeddedServer(fresh.folder) as server:
        yield server.url


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _today(database: psycopg.Connection) -> date:
    (day,) = database.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone() or ()
    return day


def _make_due(database: psycopg.Connection, rows: int) -> str:
    """The partition of today, with tokens that expired yesterday."""
    today = _today(database)
    name = partition_name(today)
    database.execute(
        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF payment_tokens"
        f" FOR VALUES FROM ('{today}') TO ('{today + timedelta(days=1)}')"
    )
    database.execute(f"ALTER TABLE {name} OWNER TO pt_maintainer")
    database.execute(
        "INSERT INTO payment_tokens (merchant_id, purge_day, token_id, status, created_at, expires_at, card_brand,"
        " card_bin, card_last4, card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata, device_id, bdk_id,"
        " service_key) SELECT 'm', %s, number, 'active', now(), now(), '', '', '', '', true, true, true, '{}', '', '', ''"
        "  FROM generate_series(1, %s) AS number",
        (today, rows),
    )
    database.execute(f"ANALYZE {name}")
    return name


def test_a_run_says_what_it_did(fresh: Deployment, database: psycopg.Connection) -> None:
    fresh.run_here("maintain")
    _make_due(database, 1234)
    last = partition_name(_today(database) + timedelta(days=415))
    database.execute(f"DROP TABLE {last}")
    database.execute(
        "INSERT INTO token_idempotency_keys SELECT 'm', number, '', '', '', now(), now() FROM generate_series(1, 3) AS number"
    )

    first = fresh.run_here("maintain").stdout
    again = fresh.run_here("maintain").stdout

    assert re.fullmatch(
        r"Made 1 partition, dropped 1 \(about 1,234 tokens\), purged 3 idempotency keys in [0-9.]+ s\.\n",
        first,
    )
    assert re.fullmatch(
        r"Made 0 partitions, dropped 0, purged 0 idempotency keys in [0-9.]+ s\.\n", again
    )


def test_a_longer_life_of_tokens_gets_its_partitions(fresh: Deployment) -> None:
    shown = fresh.run_here("maintain", MAX_TOKEN_TTL_HOURS="9648").stdout

    assert shown.startswith("Made 2 partitions")


async def test_a_second_one_says_so_and_does_nothing(fresh: Deployment, url: str) -> None:
    async with PostgresMaintenance(url).alone():
        second = fresh.run("maintain")

    assert second.returncode == 0
    assert "Another process maintains" in second.stdout


def test_what_is_in_use_is_named_and_left_for_the_next_run(
    fresh: Deployment, database: psycopg.Connection, url: str
) -> None:
    name = _make_due(database, 1)
    with psycopg.connect(url) as reader:
        reader.execute(f"SELECT FROM {name}")
        held_up = fresh.run_here("maintain", check=False)

    assert held_up.returncode == 1
    assert str(_today(database)) in held_up.stderr
    assert "in use" in held_up.stderr
    assert "dropped 1" in fresh.run_here("maintain").stdout


@pytest.mark.parametrize(
    ("database_url", "said"),
    [
        ("postgresql://postgres@127.0.0.1:1/none", "database"),
        ("{own}", "member of the role that owns"),
    ],
    ids=["away", "a login that may not"],
)
def test_it_says_why_it_cannot(
    fresh: Deployment, database: psycopg.Connection, url: str, database_url: str, said: str
) -> None:
    database.execute("DROP ROLE IF EXISTS stranger")
    database.execute("CREATE ROLE stranger LOGIN")
    stranger = url.replace("postgres@", "stranger@")

    refused = fresh.run(
        "maintain",
        check=False,
        ENVIRONMENT="test",
        DATABASE_URL=database_url.format(own=stranger),
    )

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_partition_is_known_and_an_outage_until_maintenance_runs(
    fresh: Deployment, database: psycopg.Connection
) -> None:
    # The public process alone: in a development deployment as a whole, maintenance would mend it.
    with (
        fresh.serving("--only", "public", "--only", "internal") as service,
        service.public() as pos,
    ):
        assert pos.get("/readyz").status_code == 200
        database.execute(f"DROP TABLE {partition_name(_today(database) + timedelta(days=2))}")

        refused = service.create(pos, fresh.body(ttl_seconds=86_400), key="k")

        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert "Retry-After" in refused.headers
        assert service.create(pos, fresh.body(ttl_seconds=1)).status_code == 201
        assert pos.get("/readyz").json()["failing"] == {"partitions": "partitions_missing"}
        metrics = httpx.get(service.urls["metrics"] + "/readyz")
        assert metrics.json()["failing"] == {"partitions": "partitions_missing"}
        with service.worker() as worker:
            # It makes no tokens, and goes on.
            assert worker.get("/readyz").status_code == 200
        doctor = fresh.run_here("doctor", check=False)
        assert doctor.returncode == 1
        assert "payment-token maintain" in doctor.stdout

        assert "Made 1 partition," in fresh.run_here("maintain").stdout

        assert service.create(pos, fresh.body(ttl_seconds=86_400), key="k").status_code == 201
        assert pos.get("/readyz").status_code == 200


def test_a_process_that_only_maintains_needs_no_key(
    fresh: Deployment, database: psycopg.Connection, tmp_path: Path
) -> None:
    name = _make_due(database, 1)
    nothing = str(tmp_path / "nothing")
    with fresh.serving(
        "--only",
        "maintain",
        SERVICE_KMS_KEY_ID="",
        LOCAL_KEYSTORE_FILE=nothing,
        LOCAL_KEYSTORE_KEY_FILE=nothing,
        WORKER_POLICY_FILE=nothing,
    ) as service:
        assert set(service.urls) == {"metrics"}
        _wait_until_gone(database, name)
        assert httpx.get(service.urls["metrics"] + "/healthz").status_code == 200
        assert httpx.get(service.urls["metrics"] + "/readyz").status_code == 200
        assert service.stop() == 0

    done = [json.loads(line) for line in service.log_lines if '"maintained"' in line]
    assert [entry["partitions_dropped"] for entry in done] == [1]


def test_a_process_that_cannot_maintain_is_not_ready(fresh: Deployment, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE ROLE passer_by LOGIN")
        database.execute("GRANT SELECT ON alembic_version TO passer_by")
    with fresh.serving(
        "--only",
        "maintain",
        ENVIRONMENT="test",
        TRUSTED_PROXIES="127.0.0.1",
        DATABASE_URL=url.replace("postgres@", "passer_by@"),
        MIGRATION_DATABASE_URL=url,
    ) as service:
        _wait_for_log(service, "maintenance failed")
        ready = httpx.get(service.urls["metrics"] + "/readyz")

    assert ready.status_code == 503
    assert ready.json()["failing"] == {
        "maintenance": "maintenance_failed",
        "overdue_sad": "maintenance_failed",
    }


def test_a_development_deployment_maintains_itself(
    fresh: Deployment, database: psycopg.Connection
) -> None:
    name = _make_due(database, 1)
    with fresh.serving():
        _wait_until_gone(database, name)


def _wait_until_gone(database: psycopg.Connection, name: str) -> None:
    deadline = time.monotonic() + 30
    while database.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _wait_for_log(service: RunningService, words: str) -> None:
    deadline = time.monotonic() + 30
    while not any(words in line for line in service.log_lines):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_a_place_for_the_next_months_records_nothing_is_served(
    fresh: Deployment, database: psycopg.Connection
) -> None:
    months = database.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'decrypt_audit_log'::regclass ORDER BY 1 OFFSET 2"
    ).fetchall()
    for (month,) in months:
        database.execute(f"DROP TABLE {month}")

    refused = fresh.run("serve", "--only", "internal", check=False)
    assert refused.returncode == 1
    assert "partitions for 1 months" in refused.stderr
    assert "payment-token maintain" in refused.stderr

    # A process that maintains makes them first.
    with fresh.serving() as service:
        assert httpx.get(service.urls["public"] + "/readyz").status_code == httpx.codes.OK
    assert fresh.run_here("maintain").stdout.startswith("Made 0 partitions, dropped")
