"""The commands, as a person uses them: what they print, and what they say when something is wrong."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import Deployment, RunningService


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment.made_in(tmp_path_factory.mktemp("commands"))
    # Held here, so that not every command starts and stops the server.
    with EmbeddedServer(deployment.folder):
        yield deployment


def test_dev_init_makes_everything_and_keeps_secrets_private(fresh: Deployment) -> None:
    names = {path.name for path in fresh.folder.iterdir()}
    assert names == {
        ".env",
        "api-key",
        "ca.pem",
        "keystore.json",
        "keystore.key",
        "policy.toml",
        "postgres",
        "server.pem",
        "server-key.pem",
        "worker.pem",
        "worker-key.pem",
    }
    for name in (
        ".env",
        "api-key",
        "keystore.json",
        "keystore.key",
        "server-key.pem",
        "worker-key.pem",
    ):
        assert stat.S_IMODE((fresh.folder / name).stat().st_mode) == 0o600, name
    assert len((fresh.folder / "api-key").read_text().splitlines()) == 1


def test_the_certificates_pass_strict_checks(fresh: Deployment) -> None:
    for name, purpose in (("server", "sslserver"), ("worker", "sslclient")):
        checked = subprocess.run(
            [
                "openssl",
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                "-CAfile",
                "ca.pem",
                f"{name}.pem",
            ],
            cwd=fresh.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.stdout.strip() == f"{name}.pem: OK", checked.stderr


def test_dev_init_takes_an_empty_folder_only(fresh: Deployment, tmp_path: Path) -> None:
    refused = fresh.run("dev", "init", "--dir", str(fresh.folder), env_file=False, check=False)
    assert refused.returncode == 1
    assert "is not an empty folder" in refused.stderr

    (tmp_path / "empty").mkdir()
    assert (
        fresh.run("dev", "init", "--dir", str(tmp_path / "empty"), env_file=False).returncode == 0
    )


def test_dev_init_is_for_development(fresh: Deployment, tmp_path: Path) -> None:
    refused = fresh.run(
        "dev", "init", "--dir", str(tmp_path), env_file=False, check=False, ENVIRONMENT="production"
    )

    assert refused.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_env_file_is_taken_before_and_after(fresh: Deployment) -> None:
    path = str(fresh.folder / ".env")
    for arguments in (
        ["--env-file", path, "api-keys", "list"],
        ["api-keys", "list", "--env-file", path],
        ["api-keys", f"--env-file={path}", "list"],
    ):
        assert "made by dev init" in fresh.run(*arguments, env_file=False).stdout

    missing = fresh.run("api-keys", "list", "--env-file", path + "x", env_file=False, check=False)
    assert missing.returncode == 1
    assert "There is no file" in missing.stderr


def test_an_api_key_is_shown_once_listed_and_revoked(fresh: Deployment) -> None:
    made = fresh.run_here(
        "api-keys", "create", "--merchant", "m_1", "--merchant", "m_2", "--name", "till 7"
    )
    secret = made.stdout.strip()
    key_id = secret.split("_")[1]
    assert re.fullmatch(r"ptk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", secret)

    listed = fresh.run_here("api-keys", "list").stdout
    assert key_id in listed
    assert "m_1, m_2" in listed
    assert secret.rpartition("_")[2] not in listed

    assert "Revoked" in fresh.run_here("api-keys", "revoke", key_id).stdout
    assert "revoked" in fresh.run_here("api-keys", "list").stdout
    assert fresh.run_here("api-keys", "revoke", "0" * 16, check=False).returncode == 1


def test_a_key_is_imported_from_components(fresh: Deployment) -> None:
    components = ["32107654BA98FEDCCDEF89AB45670123", "11" * 16, "22" * 16]
    imported = fresh.run_here(
        "bdk",
        "import",
        "--id",
        "x924",
        "--algorithm",
        "tdes-2key",
        *(word for component in components for word in ("--component", component)),
        "--ksn-prefix",
        "ffff98765432",
        "--allow-pin-variant",
    )
    # The published key check value of the test BDK of ANSI X9.24-1.
    assert "08D7B4" in imported.stdout
    listed = fresh.run_here("bdk", "list").stdout
    assert "FFFF98765432" in listed
    assert "allowed" in listed
    assert "0123456789ABCDEF" not in (fresh.folder / "keystore.json").read_text().upper()

    again = fresh.run_here(
        "bdk",
        "import",
        "--id",
        "x924",
        "--algorithm",
        "tdes-2key",
        "--component",
        "44" * 16,
        check=False,
    )
    assert again.returncode == 1
    assert "already" in again.stderr


def test_the_same_key_may_have_two_names_and_a_prefix_only_one_key(fresh: Deployment) -> None:
    one = ("bdk", "import", "--algorithm", "aes-128", "--component", "22" * 16)

    fresh.run_here(*one, "--id", "twin-a", "--ksn-prefix", "ABCD0001")
    fresh.run_here(*one, "--id", "twin-b")
    clash = fresh.run_here(*one, "--id", "twin-c", "--ksn-prefix", "ABCD0001", check=False)

    assert clash.returncode == 1
    assert "KSN prefix" in clash.stderr
    # The refused key is not left behind in the keystore.
    assert fresh.run_here(*one, "--id", "twin-c").returncode == 0


def test_components_come_from_a_prompt_or_a_file_too(fresh: Deployment, tmp_path: Path) -> None:
    component = tmp_path / "component"
    component.write_text("33" * 32 + "\n")

    from_file = fresh.run(
        "bdk",
        "import",
        "--id",
        "filed",
        "--algorithm",
        "aes-256",
        "--component-file",
        str(component),
    )
    prompted = fresh.run(
        "bdk", "import", "--id", "asked", "--algorithm", "aes-256", stdin="33" * 32 + "\n"
    )

    value = re.search(r"check value ([0-9A-F]{6})", from_file.stdout)
    assert value is not None
    assert value[1] in prompted.stdout
    assert "33333333" not in prompted.stdout + prompted.stderr


@pytest.mark.parametrize("component", ["", "00" * 15, "00" * 17, "zz" * 16, "0x" + "00" * 15])
def test_a_wrong_component_is_refused_without_showing_it(fresh: Deployment, component: str) -> None:
    refused = fresh.run_here(
        "bdk",
        "import",
        "--id",
        "wrong",
        "--algorithm",
        "aes-128",
        "--component",
        component,
        check=False,
    )

    assert refused.returncode == 1
    assert "32 hexadecimal digits" in refused.stderr
    assert not component or component not in refused.stderr


def test_components_on_the_command_line_are_for_development(fresh: Deployment) -> None:
    refused = fresh.run_here(
        "bdk",
        "import",
        "--id",
        "cli",
        "--algorithm",
        "aes-128",
        "--component",
        "00" * 16,
        check=False,
        ENVIRONMENT="test",
    )

    assert refused.returncode == 1
    assert "development only" in refused.stderr


def test_devices_are_registered_and_listed(fresh: Deployment) -> None:
    register = (
        "devices",
        "register",
        "--device-id",
        "till-1",
        "--merchant",
        "m_demo",
        "--bdk",
        "default-tdes-2key",
    )

    fresh.run_here(*register, "--key-variant", "data-request", "--mode", "cbc")

    listed = fresh.run_here("devices", "list").stdout
    assert "till-1" in listed
    assert "dukpt-tdes" in listed
    assert "has a device till-1 already" in fresh.run_here(*register, check=False).stderr
    unknown = fresh.run_here(*register[:-1], "nobody's", check=False)
    assert unknown.returncode == 1
    assert "bdk list" in unknown.stderr


def test_the_schema_is_shown_upgraded_and_reset(fresh: Deployment) -> None:
    assert re.search(r"database: 0\d+\s+newest:\s+0\d+", fresh.run_here("db", "current").stdout)
    assert "The schema is at" in fresh.run_here("db", "upgrade").stdout

    unasked = fresh.run_here("db", "reset", check=False)
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    refused = fresh.run_here(
        "db",
        "reset",
        "--yes",
        check=False,
        ENVIRONMENT="production",
        DATABASE_URL="postgresql://h/d",
    )
    assert refused.returncode == 1
    assert "never reset" in refused.stderr


def test_help_is_there_for_every_command(fresh: Deployment) -> None:
    for words in (
        [],
        ["serve"],
        ["dev", "init"],
        ["bdk", "import"],
        ["simulate", "terminal"],
        ["doctor"],
        ["quickstart"],
    ):
        shown = fresh.run_here(*words, "--help").stdout
        assert "Usage:" in shown
        assert "--help" in shown


@pytest.mark.parametrize("scheme", ["dukpt-tdes", "dukpt-aes"])
def test_a_virtual_terminal_sends(
    deployment: Deployment, service: RunningService, scheme: str
) -> None:
    sent = deployment.run_here(
        "simulate", "terminal", "--scheme", scheme, "--count", "12", "--url", service.urls["public"]
    )

    assert "12 x 201" in sent.stdout
    assert "pt_" in sent.stdout


def test_a_virtual_terminal_without_a_service_says_so(deployment: Deployment) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused = deployment.run_here("simulate", "terminal", "--url", url, check=False)

    assert refused.returncode == 1
    assert "payment-token serve" in refused.stderr


def test_doctor_finds_a_sound_deployment_sound(deployment: Deployment) -> None:
    checked = deployment.run_here("doctor")

    assert "refused" not in checked.stdout
    assert "audit are usable" in checked.stdout


def test_doctor_names_what_is_unsafe(deployment: Deployment) -> None:
    checked = deployment.run_here("doctor", check=False, PUBLIC_ADDRESS="0.0.0.0:8000")
    assert checked.returncode == 1
    assert "PUBLIC_ADDRESS" in checked.stdout

    production = deployment.run_here(
        "doctor", check=False, ENVIRONMENT="production", DATABASE_URL="postgresql://h/d"
    )
    assert production.returncode == 1
    for named in (
        "SERVICE_KMS_KEY_ID",
        "LOCAL_KEYSTORE_FILE",
        "PUBLIC_TLS_CERT_FILE",
        "MIGRATION_DATABASE_URL",
    ):
        assert named in production.stdout


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ENVIRONMENT": "production", "DATABASE_URL": "postgresql://h/d"}, "not safe to start"),
        ({"PUBLIC_ADDRESS": "0.0.0.0:0"}, "loopback only"),
        ({"PUBLIC_ADDRESS": "nonsense"}, "PUBLIC_ADDRESS"),
        ({"SAD_TTL_SECONDS": "-1"}, "SAD_TTL_SECONDS"),
        ({"CARD_CHECKS": "sloppy"}, "CARD_CHECKS"),
        ({"ENVIRONMENT": "test"}, "DATABASE_URL"),
        ({"SERVICE_KMS_KEY_ID": "kms/key-1"}, "SERVICE_KMS_KEY_ID"),
        ({"BDK_KMS_KEY_ID": "key-1"}, "BDK_KMS_KEY_ID"),
        ({"LOCAL_KEYSTORE_KEY_FILE": "/nowhere"}, "LOCAL_KEYSTORE_KEY_FILE"),
        ({"CLIENT_CA_FILE": "/nowhere"}, "CLIENT_CA_FILE"),
        ({"WORKER_POLICY_FILE": "/nowhere"}, "WORKER_POLICY_FILE"),
        ({"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none"}, "database"),
    ],
    ids=lambda value: (
        next(iter(value.items()))[0] + "=" + next(iter(value.values()))
        if isinstance(value, dict)
        else ""
    ),
)
def test_serve_refuses_a_wrong_configuration_with_one_line(
    deployment: Deployment, environment: dict[str, str], said: str
) -> None:
    refused = deployment.run("serve", check=False, **environment)

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_serve_says_that_an_address_is_taken(
    deployment: Deployment, service: RunningService
) -> None:
    taken = service.urls["public"].removeprefix("http://")

    refused = deployment.run("serve", check=False, PUBLIC_ADDRESS=taken)

    assert refused.returncode == 1
    assert f"cannot listen on {taken}" in refused.stderr


def test_serve_runs_only_what_it_is_told(deployment: Deployment) -> None:
    with deployment.serving("--only", "public") as service:
        assert set(service.urls) == {"public", "public_grpc", "metrics"}
        assert service.stop() == 0


def test_a_log_line_is_one_json_object(service: RunningService) -> None:
    for line in service.log_lines:
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


def test_the_quickstart_shows_the_job_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    shown = subprocess.run(
        [sys.executable, "-m", "payment_token", "quickstart", "--dir", str(tmp_path / "demo")],
        env=environment | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    assert len(set(re.findall(r"pt_[a-z]{36}", shown))) == 4
    assert "601111••••••1117" in shown
    assert "6011111111111117" not in shown
    assert "without a certificate: no connection" in shown
    assert "403 forbidden" in shown
    assert re.search(r"released\s+ok", shown)
    assert not (tmp_path / "demo" / "postgres" / "data" / "postmaster.pid").exists()


def test_ctrl_c_ends_the_service_in_order(deployment: Deployment) -> None:
    with deployment.serving() as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(timeout=30) == 0
