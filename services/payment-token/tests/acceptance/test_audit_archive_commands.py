"""``payment-token audit export``, ``archive`` and ``hold``, as an operator gives them, on a log of old months."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payment_token.bootstrap.sealer import signing_keys
from tests.support.databases import own_database
from tests.support.deployment import Deployment
from tests.support.deployment_sealing import ORIGIN, seal_all
from tests.support.sealed_log import SealedLogMaker

MANY = 20_000
SHORT = {"AUDIT_RETENTION_YEARS": "0.5"}


@pytest.fixture
def deployed(tmp_path: Path, server_url: str, template: str) -> Iterator[Deployment]:
    with own_database(server_url, template) as url:
        made = Deployment.made_in(tmp_path / "d", DATABASE_URL=url)
        with made.serving("--only", "internal"):
            # The first keys are made, and nothing is sealed.
            pass
        yield made


@pytest.fixture
def log(deployed: Deployment) -> SealedLogMaker:
    """Signs with the deployment's own key."""
    maker = SealedLogMaker(deployed.environment["DATABASE_URL"], ORIGIN)
    maker.use_key(asyncio.run(signing_key(deployed)))
    return maker


async def signing_key(deployed: Deployment) -> Ed25519PrivateKey:
    async with signing_keys(deployed.settings, deployed.environment["DATABASE_URL"]) as keys:
        return Ed25519PrivateKey.from_private_bytes((await keys.active()).key.reveal())


def events(deployed: Deployment) -> Counter[str]:
    with psycopg.connect(deployed.environment["DATABASE_URL"]) as database:
        found = database.execute("SELECT event FROM audit_records").fetchall()
    return Counter(event for (event,) in found)


def verdict(deployed: Deployment, archive: Path) -> str:
    said = deployed.run("audit", "verify", "--archive", str(archive), "--json", check=False)
    return str(json.loads(said.stdout)["verdict"])


def test_from_the_database_to_the_archive_and_out_of_it(
    deployed: Deployment, log: SealedLogMaker, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    to = ("--to", str(archive))
    log.month("2025-06", 300)
    log.month("2025-07", 300)
    log.month("2025-08", 300)

    said = deployed.run_here("audit", "export", *to, "--month", "2025-06").stdout
    assert "2025-06 is closed" in said
    assert "2025-07 is closed" not in said
    assert "2025-07 is closed" in deployed.run_here("audit", "export", *to, "--all-sealed").stdout
    assert verdict(deployed, archive) == "verified"

    archived = deployed.run_here("audit", "archive", *to).stdout
    assert "2025-06 left the database: 301 records." in archived
    assert "2025-07 left the database: 301 records." in archived
    # The last tile of the tree is not full yet, and the sealer goes on from its records.
    assert "2025-08 left" not in archived
    assert "none is due" in deployed.run_here("audit", "archive", *to).stdout
    assert verdict(deployed, archive) == "verified"
    # Once it is sealed that the months have left it, the database is whole without them.
    asyncio.run(seal_all(deployed, tmp_path / "checkpoints"))
    database = deployed.run("audit", "verify", "--json", check=False)
    assert json.loads(database.stdout)["findings"] == []
    assert any("left the database" in said for said in json.loads(database.stdout)["remarks"])

    young = deployed.run_here(
        "audit", "archive", *to, "--remove-expired", "--month", "2025-06", check=False
    )
    assert (young.returncode, "kept until 2032-07-01" in young.stderr) == (1, True)
    hold = ("audit", "hold", "place", "case-1", "--reason", "a court", "--from", "2025-06")
    assert "case-1 is in force: 2025-06" in deployed.run_here(*hold).stdout
    assert "a court" in deployed.run_here("audit", "hold", "list").stdout
    held = deployed.run_here("audit", "archive", *to, "--remove-expired", check=False, **SHORT)
    assert (held.returncode, "under the legal hold case-1" in held.stderr) == (1, True)
    deployed.run_here("audit", "hold", "release", "case-1")
    removed = deployed.run_here("audit", "archive", *to, "--remove-expired", **SHORT).stdout
    assert "2025-06 is gone from the archive: 301 entries." in removed
    assert verdict(deployed, archive) == "verified"

    recorded = events(deployed)
    assert recorded["month_archived"] >= 2
    assert recorded["month_detached"] >= 3
    assert recorded["legal_hold_placed"] == recorded["legal_hold_released"] == 1


def test_a_month_that_is_not_over_is_not_exported_as_one(
    deployed: Deployment, log: SealedLogMaker, tmp_path: Path
) -> None:
    to = ("--to", str(tmp_path / "archive"))
    log.month("2025-06", 30)
    for arguments, said in (
        (("--month", "2099-01"), "is closed on 2099-02-04, not before"),
        (("--month", "2025-05"), "begins later"),
        (("--month", "june"), "YYYY-MM"),
        (("--month", "2025-06", "--all-sealed"), "one of the two"),
        ((), "one of the two"),
    ):
        refused = deployed.run_here("audit", "export", *to, *arguments, check=False)
        assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr


def test_an_export_that_was_killed_goes_on(
    deployed: Deployment, log: SealedLogMaker, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    log.month("2026-06", MANY, seals=20)
    for tiles in (5, 30):
        command = [
            *(sys.executable, "-m", "payment_token", "audit", "export", "--all-sealed"),
            *("--to", str(archive), "--env-file", str(deployed.folder / ".env")),
        ]
        process = subprocess.Popen(command, env=deployed._environment({}))
        deadline = time.monotonic() + 60
        while len(list(archive.glob("tile/entries/*.gz"))) < tiles and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()

    said = deployed.run_here("audit", "export", "--to", str(archive), "--all-sealed").stdout

    assert f"the archive in {archive} has {MANY + 1:,}" in said
    assert verdict(deployed, archive) == "verified"
