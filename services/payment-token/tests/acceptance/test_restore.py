"""A real restore: a base backup, a point in time, and what the audit log brings back of the time after it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database import migration
from tests.support.databases import keep_near_partitions
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.deployment_sealing import wait_until_sealed
from tests.support.restorable_server import RestorableServer, restorable_server

PURPOSES = ("audit-signing", "service", "index")


@dataclass
class Restored:
    """A deployment whose database was restored to a time before most of what is named here."""

    deployment: Deployment
    server: RestorableServer
    archive: Path
    checkpoints: Path
    kept: str
    revoked_before: str
    revoked_after: str
    under_destroyed_key: str
    lost: str
    revoked_api_key: str
    rotated_api_key: str
    size: int

    def recover(self, *arguments: str, check: bool = True) -> str:
        done = self.deployment.run_here(
            "recover",
            "--archive",
            str(self.archive),
            "--checkpoints",
            str(self.checkpoints),
            *arguments,
            check=check,
        )
        return done.stdout + done.stderr

    def sealed(self) -> int:
        return wait_until_sealed(self.server.url)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.server.url) as database:
            return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    folder = tmp_path_factory.mktemp("restore")
    with restorable_server() as server:
        migration.upgrade(server.url)
        keep_near_partitions(server.url)
        deployment = Deployment.made_in(folder / "d", DATABASE_URL=server.url)
        yield made_and_restored(deployment, server, folder)


def made_and_restored(deployment: Deployment, server: RestorableServer, folder: Path) -> Restored:
    archive, checkpoints = folder / "archive", deployment.folder / "audit-checkpoints"
    api_key, rotated = (
        deployment.run_here("api-keys", "create", "--merchant", MERCHANT).stdout.strip()
        for _ in range(2)
    )
    with deployment.serving() as service, service.public() as pos, service.worker() as worker:
        create = creating(deployment, service, pos)
        under_destroyed_key = create()
        # Each purpose gets a version under a KEK of its own: one that is destroyed takes no other with it.
        for purpose in PURPOSES:
            deployment.run_here("keys", "rotate", "--purpose", purpose)
        kept, revoked_before, revoked_after = create(), create(), create()
        assert service.release(worker, kept).status_code == 200
        server.back_up()
        assert pos.delete(f"/v1/payment-tokens/{revoked_before}").status_code == 204
        wait_until_sealed(server.url)
        before = server.now()

        assert pos.delete(f"/v1/payment-tokens/{revoked_after}").status_code == 204
        lost = create()
        assert service.release(worker, lost).status_code == 200
        deployment.run_here("api-keys", "revoke", api_key.split("_")[1])
        deployment.run_here("api-keys", "rotate", rotated.split("_")[1], "--overlap", "1s")
        deployment.run_here("keys", "reencrypt")
        deployment.run_here("keys", "retire", "v1")
        deployment.run_here("keys", "destroy", "v1", "--confirm", "v1")
    size = wait_until_sealed(server.url)
    deployment.run_here("audit", "export", "--to", str(archive), "--all-sealed")
    server.restore(to=before)
    return Restored(
        deployment,
        server,
        archive,
        checkpoints,
        kept,
        revoked_before,
        revoked_after,
        under_destroyed_key,
        lost,
        api_key,
        rotated,
        size,
    )


def creating(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> Callable[[], str]:
    def create() -> str:
        answer = service.create(pos, deployment.body())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["payment_token"])

    return create


def test_what_ended_stays_ended_after_a_real_restore(restored: Restored) -> None:
    # The restore really brought it back to life.
    alive = dict(restored.rows("SELECT token_id, status FROM payment_tokens"))
    assert alive[restored.revoked_before] == "revoked"
    assert alive[restored.revoked_after] == alive[restored.under_destroyed_key] == "active"
    assert restored.lost not in alive
    assert restored.rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL") == [(0,)]
    ended = "SELECT count(*) FROM api_keys WHERE expires_at < now()"
    assert restored.rows(ended) == [(0,)]
    (size,) = restored.rows("SELECT max(tree_size) FROM audit_seals")[0]
    assert isinstance(size, int)
    assert size < restored.size

    plan = restored.recover()
    assert "Nothing was changed" in plan
    assert dict(restored.rows("SELECT token_id, status FROM payment_tokens")) == alive
    said = restored.recover("--yes")

    assert "1 tokens are revoked again" in " ".join(said.split())
    assert "Recovered" in said
    assert "Lost" not in said
    assert "Nothing to recover" in restored.recover("--yes")
    assert restored.rows("SELECT max(tree_size) FROM audit_seals") == [(restored.size,)]
    assert restored.rows(
        "SELECT state, wrapped_key FROM encryption_keys WHERE purpose = 'service' AND version = 'v1'"
    ) == [("destroyed", None)]

    with restored.deployment.serving() as service:
        check_the_service(restored, service)
        check_the_log(restored)
    check_the_archive(restored)


def check_the_service(restored: Restored, service: RunningService) -> None:
    with service.worker() as worker:
        assert service.release(worker, restored.kept).status_code == 200
        for token in (
            restored.revoked_before,
            restored.revoked_after,
            restored.under_destroyed_key,
        ):
            answer = service.release(worker, token)
            assert (answer.status_code, answer.json()["code"]) == (410, "token_revoked")
        assert service.release(worker, restored.lost).status_code == 404
        for secret in (restored.revoked_api_key, restored.rotated_api_key):
            with service.public(headers={"Authorization": f"Bearer {secret}"}) as integrator:
                assert integrator.get(f"/v1/payment-tokens/{restored.kept}").status_code == 401
        with service.public() as pos:
            again = service.create(pos, restored.deployment.body()).json()["payment_token"]
            assert service.release(worker, again).status_code == 200


def check_the_log(restored: Restored) -> None:
    """It goes on from where it was, and whoever kept checkpoints outside sees one log that only grew."""
    assert restored.sealed() > restored.size
    verified = restored.deployment.run(
        "audit", "verify", "--checkpoints", str(restored.checkpoints), "--json", check=False
    )
    report = json.loads(verified.stdout)
    assert report["verdict"] == "verified", report
    assert report["outside_checkpoints"] > 3
    (recovery,) = restored.rows("SELECT details FROM audit_records WHERE event = 'log_recovered'")
    details = recovery[0]
    assert isinstance(details, dict)
    assert details["recovered_size"] == restored.size
    assert details["revoked_tokens"] == 1


def check_the_archive(restored: Restored) -> None:
    """Once nothing is sealed any more: it is as long as what was published."""
    restored.deployment.run_here("audit", "export", "--to", str(restored.archive), "--all-sealed")
    archived = restored.deployment.run(
        "audit",
        "verify",
        "--archive",
        str(restored.archive),
        "--checkpoints",
        str(restored.checkpoints),
        "--json",
        check=False,
    )
    assert json.loads(archived.stdout)["verdict"] == "verified", archived.stdout
