"""The whole service while its audit log cannot be written: 503 and no card data, in time; afterwards all is as before."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.audit_chain import check_chains, check_releases, rows_of
from tests.support.deployment import Deployment, RunningService
from tests.support.long_form import usual_or_long
from tests.support.postgres_proxy import Way, Wire, postgres_proxy_beside
from tests.support.problems import PAN, check_problem
from tests.support.small_disk import small_disk

# An answer leaves within three seconds; the rest is for a busy machine.
BOUND_SECONDS = 4
RECOVERY_SECONDS = 20
AT_ONCE = 4


@dataclass
class Place:
    """A service that releases, the wire to its database, and a login that may do anything there."""

    service: RunningService
    database: psycopg.Connection
    wire: Wire
    token: str
    login: str = ""
    receipts: list[str] = field(default_factory=list)

    def release(self) -> int:
        with self.service.worker() as worker:
            began = time.monotonic()
            answer = self.service.release(worker, self.token)
            assert time.monotonic() - began < BOUND_SECONDS
        if answer.status_code == 200:
            assert answer.json()["payment_data"]["pan"] == PAN
            self.receipts.append(answer.json()["audit_receipt"])
        else:
            check_problem(answer)
            assert answer.json()["code"] in ("audit_unavailable", "database_unavailable")
        return answer.status_code

    def releases(self, number: int = AT_ONCE) -> list[int]:
        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(lambda _: self.release(), range(number)))

    def not_ready(self) -> set[str]:
        """What is not, by name."""
        answer = httpx.get(self.service.urls["metrics"] + "/readyz", timeout=BOUND_SECONDS)
        return set(answer.json().get("failing", ["all"] if answer.status_code != 200 else []))

    def check_recovered(self) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        # What was under way as the fault ended may still fail.
        while self.not_ready() or self.releases() != [200] * AT_ONCE:
            assert time.monotonic() < deadline, "it does not become ready again"
            time.sleep(0.1)
        self.check_log()

    def check_log(self) -> None:
        """What was answered is in the log; what is there besides, was taken back."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            rows = rows_of(self.database)
            check_chains(rows)
            try:
                check_releases(rows, self.receipts)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return


@pytest.fixture(scope="module")
def place(new_deployment: Callable[[], Deployment]) -> Iterator[Place]:
    deployment = new_deployment()
    url = deployment.environment["DATABASE_URL"]
    with (
        psycopg.connect(url, autocommit=True) as database,
        a_login_of_its_own(database) as login,
        postgres_proxy_beside(url_of(url, login)) as wire,
        deployment.serving(
            *("--only", "public", "--only", "internal"),
            DATABASE_URL=wire.url,
            MIGRATION_DATABASE_URL=url,
        ) as service,
        service.public() as pos,
    ):
        token = service.create(pos, deployment.body()).json()["payment_token"]
        place = Place(service, database, wire, token, login)
        place.check_recovered()
        yield place
        assert service.process.poll() is None
        assert not [line for line in service.log_lines if PAN in line]


@contextmanager
def a_login_of_its_own(database: psycopg.Connection) -> Iterator[str]:
    name = f"service_{uuid.uuid4().hex[:8]}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'service'")
    database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    database.execute(f"GRANT EXECUTE ON FUNCTION activate_device(text, text) TO {name}")
    try:
        yield name
    finally:
        database.execute(f"DROP OWNED BY {name}")
        database.execute(f"DROP ROLE {name}")


def url_of(url: str, login: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}:service@{parts.netloc.rpartition('@')[2]}").geturl()


@contextmanager
def locked(place: Place) -> Iterator[None]:
    with place.database.transaction(force_rollback=True):
        place.database.execute("LOCK TABLE decrypt_audit_log IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def revoked(place: Place) -> Iterator[None]:
    place.database.execute(f"REVOKE INSERT ON decrypt_audit_log FROM {place.login}")
    try:
        yield
    finally:
        place.database.execute(f"GRANT INSERT ON decrypt_audit_log TO {place.login}")


@contextmanager
def without_a_partition(place: Place) -> Iterator[None]:
    month, bound = place.database.execute(
        "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relname = 'decrypt_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
    ).fetchone() or ("", "")
    place.database.execute(f"ALTER TABLE decrypt_audit_log DETACH PARTITION {month}")
    try:
        yield
    finally:
        place.database.execute(f"ALTER TABLE decrypt_audit_log ATTACH PARTITION {month} {bound}")


@pytest.mark.parametrize("fault", [locked, revoked, without_a_partition])
def test_a_log_that_takes_nothing(
    place: Place, fault: Callable[[Place], AbstractContextManager[None]]
) -> None:
    with fault(place):
        assert place.releases() == [503] * AT_ONCE
        assert "audit" in place.not_ready()
        assert place.release() == 503
    place.check_recovered()


def test_a_database_that_answers_late(place: Place) -> None:
    place.wire.delay[Way.TO_CLIENT] = 1.0
    assert place.releases() == [503] * AT_ONCE
    assert place.not_ready()
    place.wire.heal()
    place.check_recovered()


@pytest.mark.parametrize("seconds", usual_or_long([0.4], [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]))
def test_a_record_that_comes_in_after_the_answer_has_left(place: Place, seconds: float) -> None:
    """Each step is in time, and all of them together are not: who hears of an outage got no card data."""
    place.wire.delay[Way.TO_CLIENT] = seconds
    outcomes = place.releases()
    place.wire.heal()
    assert seconds < 0.35 or set(outcomes) == {503}
    place.check_recovered()


def test_a_database_that_answers_no_more(place: Place) -> None:
    place.wire.go_silent(for_all=True)
    assert place.releases() == [503] * AT_ONCE
    assert place.not_ready()
    place.wire.heal()
    place.check_recovered()


def test_a_connection_that_is_cut_at_any_message(place: Place) -> None:
    outcomes = set()
    for way in Way:
        for message in range(1, 40):
            place.wire.cut_at(way, message)
            outcomes.add(place.release())
            place.wire.heal()
            if not place.wire.cuts:
                break
        else:
            pytest.fail("a release has no end")
    assert outcomes == {200, 503}
    place.check_recovered()


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 200) as disk:
        deployment = Deployment.made_in(disk.folder / "deployment")
        with (
            EmbeddedServer(deployment.folder) as server,
            psycopg.connect(server.url, autocommit=True) as database,
            postgres_proxy_beside(server.url) as wire,
            deployment.serving("--only", "public", "--only", "internal") as service,
            service.public() as pos,
        ):
            token = service.create(pos, deployment.body()).json()["payment_token"]
            place = Place(service, database, wire, token)
            disk.fill()
            # What a page has room for still goes in.
            for _ in range(200):
                if place.release() == 503:
                    break
            else:
                pytest.fail("the disk is not full")
            assert place.release() == 503
            assert "audit" in place.not_ready()
            disk.empty()
            place.check_recovered()
