"""Each process with a login of its own: what its role of the database lets it do is enough for all that it does."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from tests.support.aws import KMS
from tests.support.deployment import Deployment, RunningService
from tests.support.logins import login_of

ROLES = ("pt_ingest", "pt_vault", "pt_rotator", "pt_sealer", "pt_maintainer", "pt_auditor")


@pytest.fixture(scope="module")
def deployed(new_deployment: Callable[[], Deployment]) -> Deployment:
    return new_deployment()


@pytest.fixture(scope="module")
def admin_url(deployed: Deployment) -> str:
    return deployed.environment["DATABASE_URL"]


@pytest.fixture(scope="module")
def logins(admin_url: str) -> Iterator[dict[str, str]]:
    """By the role: the URL of a login that is a member of it and of nothing else."""
    with ExitStack() as stack:
        yield {
            role.removeprefix("pt_"): stack.enter_context(login_of(admin_url, role))
            for role in ROLES
        }


@pytest.fixture(scope="module")
def keys(deployed: Deployment, logins: dict[str, str]) -> str:
    """The first keys, made by an operator."""
    return deployed.run_here("keys", "init", DATABASE_URL=logins["rotator"]).stdout


@pytest.fixture
def database(admin_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        yield connection


@contextmanager
def serving(deployed: Deployment, part: str, url: str) -> Iterator[RunningService]:
    with deployed.serving("--only", part, DATABASE_URL=url) as service:
        yield service
    assert [line for line in service.log_lines if "42501" in line] == [], "permission denied"
    assert not any("defect" in line for line in service.log_lines)


@pytest.fixture(scope="module")
def ingest(deployed: Deployment, logins: dict[str, str], keys: str) -> Iterator[RunningService]:
    with serving(deployed, "public", logins["ingest"]) as service:
        yield service


@pytest.fixture(scope="module")
def vault(deployed: Deployment, logins: dict[str, str], keys: str) -> Iterator[RunningService]:
    with serving(deployed, "internal", logins["vault"]) as service:
        yield service


def test_what_serves_makes_no_keys_and_an_operator_makes_them_once(
    deployed: Deployment, logins: dict[str, str]
) -> None:
    for part, login in (("public", "ingest"), ("internal", "vault")):
        refused = deployed.run("serve", "--only", part, check=False, DATABASE_URL=logins[login])
        assert refused.returncode == 1
        assert "payment-token keys init" in refused.stderr
        assert "Traceback" not in refused.stderr

    made = deployed.run_here("keys", "init", DATABASE_URL=logins["rotator"])
    again = deployed.run_here("keys", "init", DATABASE_URL=logins["rotator"])

    assert made.stdout.count("Made") == 3
    assert "nothing to do" in again.stdout


def test_tokens_are_made_released_and_revoked(
    deployed: Deployment, ingest: RunningService, vault: RunningService
) -> None:
    body = deployed.body()
    with ingest.public() as pos, vault.worker() as worker:
        made = ingest.create(pos, body, key="k-1")
        assert made.status_code == 201
        assert ingest.create(pos, body, key="k-1").status_code == 200
        token = made.json()["payment_token"]
        assert pos.get(f"/v1/payment-tokens/{token}").status_code == 200

        released = vault.release(worker, token, fields=["pan", "sad"])
        assert released.status_code == 200
        assert released.json()["payment_data"]["sad_status"] == "live"
        assert vault.release(worker, token, merchant_id="m_other").status_code == 403

        assert pos.delete(f"/v1/payment-tokens/{token}").status_code == 204
        assert vault.release(worker, token).json()["code"] == "token_revoked"
        for client in (pos, worker):
            assert client.get("/readyz").json() == {"status": "ready"}


def test_many_at_once(deployed: Deployment, ingest: RunningService, vault: RunningService) -> None:
    """Batches are other statements than single requests."""
    terminal = deployed.terminal()
    bodies = [
        terminal.create_body("m_demo", PUBLISHED_CARDS[0], PartFormat.TRACK2) for _ in range(30)
    ]
    with ingest.public() as pos, vault.worker() as worker, ThreadPoolExecutor(15) as pool:
        made = list(pool.map(lambda body: ingest.create(pos, body), bodies))
        assert {answer.status_code for answer in made} == {201}
        tokens = [answer.json()["payment_token"] for answer in made]
        released = pool.map(lambda token: vault.release(worker, token), tokens)
        assert {answer.status_code for answer in released} == {200}


def test_operators_rotate_keys_while_both_serve(
    deployed: Deployment, logins: dict[str, str], ingest: RunningService, vault: RunningService
) -> None:
    def operator(*command: str) -> str:
        return deployed.run_here(*command, DATABASE_URL=logins["rotator"]).stdout

    with ingest.public() as pos, vault.worker() as worker:
        before = ingest.create(pos, deployed.body()).json()["payment_token"]
        operator("keys", "rotate")
        operator("keys", "rotate", "--purpose", "index")
        operator("keys", "rotate", "--purpose", "audit-signing")
        operator("keys", "reencrypt")
        operator("keys", "retire", "v1")
        operator("keys", "destroy", "v1", "--confirm", "v1")
        after = ingest.create(pos, deployed.body()).json()["payment_token"]
        for token in (before, after):
            assert vault.release(worker, token).status_code == 200
    for command in ("status", "list", "history"):
        assert operator("keys", command)


def test_operators_register_terminals_and_keys_of_integrators(
    deployed: Deployment, logins: dict[str, str], ingest: RunningService
) -> None:
    def operator(*command: str) -> str:
        return deployed.run_here(*command, DATABASE_URL=logins["rotator"]).stdout

    operator(
        "devices",
        "register",
        "--device-id",
        "T-1",
        "--merchant",
        "m_demo",
        "--bdk",
        "default-aes-128",
    )
    assert "T-1" in operator("devices", "list")
    assert "default-aes-128" in operator("bdk", "list")
    operator("bdk", "retire", "default-aes-192")
    shown = operator("api-keys", "create", "--merchant", "m_demo", "--name", "till")
    key = next(word for word in shown.split() if word.startswith(deployed.api_key.split("_")[0]))
    with ingest.public(headers={"Authorization": f"Bearer {key}"}) as till:
        assert ingest.create(till, deployed.body()).status_code == 201
    operator("api-keys", "list")
    operator("api-keys", "revoke", key.split("_")[1])


def test_a_vault_alone_buries_dead_epoch_keys(
    vault: RunningService, database: psycopg.Connection
) -> None:
    database.execute(
        "INSERT INTO sad_epoch_keys SELECT 'dead', kms_key_id, wrapped_key, environment, now() - interval '3 hours',"
        " now() - interval '2 hours', now() - interval '1 hour' FROM sad_epoch_keys LIMIT 1"
    )
    _wait_until(
        lambda: database.execute(
            "SELECT count(*) FROM sad_epoch_keys WHERE epoch_key_id = 'dead'"
        ).fetchone()
        == (0,)
    )
    assert database.execute("SELECT count(*) > 0 FROM sad_epoch_keys").fetchone() == (True,)


def test_maintenance(
    deployed: Deployment, logins: dict[str, str], database: psycopg.Connection
) -> None:
    ((due, far, month),) = database.execute(
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM_DD'),"
        "       to_char((now() + interval '415 days') AT TIME ZONE 'UTC', 'YYYY_MM_DD'),"
        "       to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '13 months', 'YYYY_MM')"
    ).fetchall()
    database.execute(f"DROP TABLE payment_tokens_{far}, decrypt_audit_log_{month}")
    database.execute(
        "INSERT INTO token_idempotency_keys SELECT 'm', 'old', '', '', '', now(), now()"
    )

    done = deployed.run_here("maintain", DATABASE_URL=logins["maintainer"]).stdout
    with serving(deployed, "maintain", logins["maintainer"]) as service:
        _wait_until(lambda: _ready(service))

    assert "Made 1 partition and 1 month of the audit log, dropped " in done
    assert "purged 1 idempotency key" in done
    assert database.execute(
        "SELECT to_regclass(%s), to_regclass(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL",
        (f"payment_tokens_{due}", f"payment_tokens_{far}", f"decrypt_audit_log_{month}"),
    ).fetchone() == (None, True, True)
    owners = database.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner)::text, left(relname, 14) FROM pg_class"
        " WHERE relname ~ '^(payment_tokens|decrypt_audit_log)_\\d' AND relkind = 'r' ORDER BY 2"
    ).fetchall()
    assert owners == [("postgres", "decrypt_audit_"), ("pt_maintainer", "payment_tokens")]


def test_the_log_is_sealed_and_read_by_its_auditor(
    deployed: Deployment, logins: dict[str, str], database: psycopg.Connection, keys: str
) -> None:
    with serving(deployed, "sealer", logins["sealer"]) as service:
        _wait_until(
            lambda: database.execute("SELECT count(*) > 0 FROM audit_seals").fetchone() == (True,)
        )
        _wait_until(lambda: _ready(service))

    def auditor(*command: str) -> str:
        return deployed.run_here("audit", *command, DATABASE_URL=logins["auditor"]).stdout

    assert auditor("keys").startswith("payment-token/")
    assert all(map(json.loads, auditor("search", "--json").splitlines()))
    assert "erified" in auditor("verify")
    auditor("hold", "place", "case-7", "--reason", "a court asks")
    assert "case-7" in auditor("hold", "list")


def test_one_process_does_not_get_the_work_of_another(
    deployed: Deployment, logins: dict[str, str], keys: str
) -> None:
    for command, login in (
        (("keys", "rotate"), "ingest"),
        (("api-keys", "create", "--merchant", "m_1", "--name", "x"), "vault"),
        (("maintain",), "ingest"),
        (("audit", "search"), "vault"),
        (("keys", "reencrypt"), "auditor"),
    ):
        refused = deployed.run_here(*command, check=False, DATABASE_URL=logins[login])
        assert refused.returncode == 1, command
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("part", "login"),
    [("public", "ingest"), ("internal", "vault"), ("maintain", "maintainer"), ("sealer", "sealer")],
)
def test_doctor_finds_the_login_of_each_part_fitting(
    deployed: Deployment, logins: dict[str, str], keys: str, part: str, login: str
) -> None:
    checked = deployed.run_here("doctor", "--only", part, DATABASE_URL=logins[login])

    assert f"fits {part}" in " ".join(checked.stdout.split())


def test_doctor_names_what_a_login_lacks(
    deployed: Deployment, logins: dict[str, str], keys: str
) -> None:
    checked = deployed.run_here(
        "doctor", "--only", "public", check=False, DATABASE_URL=logins["vault"]
    )

    assert checked.returncode == 1
    assert "lacks INSERT on payment_tokens" in " ".join(checked.stdout.replace("│", " ").split())


def test_nothing_starts_in_production_with_a_login_that_could_change_the_audit_log(
    deployed: Deployment, logins: dict[str, str], admin_url: str, kms: KMS, tmp_path: Path
) -> None:
    production = {
        "ENVIRONMENT": "production",
        "MIGRATION_DATABASE_URL": admin_url + "&application_name=migration",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SERVICE_KMS_KEY_ID": kms.kek(),
        "KMS_ENDPOINT_URL": kms.endpoint,
        "LOCAL_KEYSTORE_FILE": "",
        "LOCAL_KEYSTORE_KEY_FILE": "",
        "BDK_KMS_KEY_ID": "",
        "AUDIT_CHECKPOINT_FILE": str(tmp_path / "checkpoints"),
    }
    for part in ("public", "internal", "maintain", "sealer"):
        refused = deployed.run(
            "serve", "--only", part, check=False, **production, DATABASE_URL=admin_url
        )
        assert refused.returncode == 1
        assert "could change the audit log: it is a superuser" in refused.stderr


def _ready(service: RunningService) -> bool:
    return httpx.get(service.urls["metrics"] + "/readyz").status_code == 200


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
