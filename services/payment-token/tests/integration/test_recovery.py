"""A database that was restored to an earlier time, and what the archive of its audit log brings back."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_archive import new_report
from payment_token.audit_verifier.verify_log import VerifyLog
from payment_token.bootstrap.archive_verifier import IndependentVerifier
from payment_token.domain.audit import Actor, AuditEvent, EventKind
from payment_token.domain.audit_archive.layout import ArchiveError
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.keys import NamedKey
from payment_token.domain.log_sealing.seal_log import LogSetBackError, SealLog
from payment_token.domain.recovery.comparison import RecoveryError
from payment_token.domain.recovery.ports import OutsideCheckpoint
from payment_token.domain.recovery.recover import Recover, Recovery
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.checkpoint_file import CheckpointFile
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from payment_token.infrastructure.database.audit_source import audit_source
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.restored import PostgresRestored
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.archives import Archiving, archiving
from tests.support.databases import database_named
from tests.support.sealed_log import ORIGIN, WritingProcess, happened
from tests.support.tokens import new_token

OPERATOR = Actor("operator:test", "here pid 2")

_KEYS = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment, activated_at, public_key)
VALUES ('service', 'v0', 'decrypt-only', 'local:old', 'x', 'test', now(), NULL),
       ('service', 'v1', 'active', 'local:kek', 'x', 'test', now(), NULL),
       ('index', 'v1', 'active', 'local:kek', 'x', 'test', now(), NULL),
       ('audit-signing', 'v1', 'active', 'local:kek', 'x', 'test', now(), %s)
"""


@dataclass
class Restorable:
    """``made`` is the log as it was. ``back_up`` copies its database; ``recover`` is told to recover a copy."""

    made: Archiving
    server_url: str
    stack: ExitStack
    writer: WritingProcess | None = None
    wrong: str = ""
    outside: list[OutsideCheckpoint] = field(default_factory=list)

    def happens(self, *events: AuditEvent) -> None:
        """Recorded and sealed, now."""
        now = datetime.now(UTC)
        self.writer = self.made.log.write(now, events, self.writer)
        self.made.log.seal(now + timedelta(seconds=1))
        self.outside.append(OutsideCheckpoint(self.made.log.tree.size, self.made.log.tree.root()))

    async def tokens(self, count: int, **changes: object) -> list[TokenId]:
        made = []
        async with new_pool(self.made.url) as pool:
            store = PostgresTokenStore(pool, pool, timedelta(hours=24))
            for _ in range(count):
                new = new_token(datetime.now(UTC), ttl=timedelta(hours=1), **changes)
                assert await store.create(new) is CounterVerdict.FRESH
                made.append(new.stored.token.token_id)
        return made

    def back_up(self) -> str:
        """What a restore would give: the database as it is now."""
        name = f"pt_restored_{uuid.uuid4().hex[:12]}"
        source = psycopg.conninfo.conninfo_to_dict(self.made.url)["dbname"]
        with psycopg.connect(self.server_url, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        self.stack.callback(self._drop, name)
        return database_named(self.server_url, name)

    def _drop(self, name: str) -> None:
        with psycopg.connect(self.server_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _verify(self, location: str, since: int = 0) -> None:
        assert location == str(self.made.folder)
        if self.wrong:
            raise ArchiveError(self.wrong)
        await IndependentVerifier([self.made.log.public_key])(location, since)

    async def recover(
        self, url: str, *, keep: bool = True, outside: Sequence[OutsideCheckpoint] | None = None
    ) -> Recovery:
        work = Recover(
            restored=PostgresRestored(url, OPERATOR, "test"),
            archive=self.made.archive,
            verify=self._verify,
            patience_seconds=0.1,
        )
        return await work(self.outside if outside is None else outside, keep=keep)


@pytest.fixture
async def log(database_url: str, server_url: str, tmp_path: Path) -> AsyncIterator[Restorable]:
    with ExitStack() as stack:
        async with archiving(database_url, tmp_path / "archive") as made:
            with psycopg.connect(database_url) as database:
                database.execute(_KEYS, (made.log.public_key,))
            # A database is copied when nobody is connected to it.
            await made.sealed._connection.close()
            yield Restorable(made, server_url, stack)


async def exported(log: Restorable) -> None:
    async with archiving(log.made.url, log.made.folder) as again:
        log.made.sealed = again.sealed
        await log.made.export()


def revoked(token: TokenId) -> AuditEvent:
    return happened(EventKind.TOKEN_REVOKED, merchant_id="m_1", token_id=token)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as database:
        return database.execute(query).fetchall()


def contents(url: str) -> Mapping[str, list[tuple[object, ...]]]:
    """Of the log, as far as recovery puts it back."""
    return {
        "records": rows(url, "SELECT * FROM decrypt_audit_log ORDER BY writer_id, sequence"),
        "seals": rows(url, "SELECT * FROM audit_seals ORDER BY tree_size"),
        "tiles": rows(url, "SELECT * FROM audit_tiles ORDER BY level, tile"),
        "chains": rows(url, "SELECT * FROM audit_chains ORDER BY writer_id"),
    }


async def test_the_log_comes_back_as_it_was_and_goes_on(log: Restorable) -> None:
    log.happens(*[happened()] * 300)
    url = log.back_up()
    log.happens(*[happened()] * 700)
    log.writer = None
    log.happens(*[happened()] * 20, happened(EventKind.LOG_CLOSED))
    await exported(log)

    done = await log.recover(url)

    assert (done.reach.restored, done.reach.archived, done.put_back) == (301, 1023, 722)
    before, after = contents(log.made.url), contents(url)
    assert after["seals"] == before["seals"]
    assert after["tiles"] == before["tiles"]
    assert len(after["tiles"]) == 3
    assert after["chains"] == before["chains"]
    recovery = [row for row in after["records"] if row not in before["records"]]
    assert len(after["records"]) == len(before["records"]) + 3
    assert ['"event":"log_recovered"' in str(row[4]) for row in sorted(recovery, key=str)]


async def test_a_dry_run_says_what_the_run_does_and_twice_changes_nothing(log: Restorable) -> None:
    log.happens(happened())
    (token,) = await log.tokens(1)
    url = log.back_up()
    log.happens(revoked(token))
    await exported(log)
    before = contents(url)

    plan = await log.recover(url, keep=False)
    assert contents(url) == before
    done = await log.recover(url)
    after = contents(url)
    again = await log.recover(url)

    assert plan.applied == done.applied
    assert (plan.put_back, plan.recorded) == (done.put_back, done.recorded) == (1, True)
    assert not again.changes
    assert contents(url) == after


async def test_what_ended_ends_again(log: Restorable) -> None:
    log.happens(happened())
    kept, gone, completed, older = await log.tokens(4)
    with psycopg.connect(log.made.url) as database:
        database.execute(
            "INSERT INTO api_keys (key_id, name, merchants, secret_sha256) VALUES ('a', '', '{}', ''), ('b', '', '{}', '')"
        )
        database.execute(
            "UPDATE payment_tokens SET service_key = 'v0' WHERE token_id = %s", (older.text,)
        )
    url = log.back_up()
    log.happens(
        revoked(gone),
        happened(EventKind.AUTHORIZATION_COMPLETED, merchant_id="m_1", token_id=completed),
        happened(EventKind.API_KEY_REVOKED, details={"key_id": "b"}),
        happened(EventKind.API_KEY_CREATED, details={"key_id": "c"}),
        key("destroyed", "service", "v0"),
        key("created", "service", "v2", kek="local:new"),
        key("activated", "service", "v2"),
        key("created", "audit-signing", "v2", kek="local:new", public_key="ab" * 32),
    )
    await exported(log)

    done = await log.recover(url)

    tokens = dict(rows(url, "SELECT token_id, status FROM payment_tokens"))
    assert tokens == {
        kept.text: "active",
        gone.text: "revoked",
        completed.text: "active",
        older.text: "revoked",
    }
    sad = dict(rows(url, "SELECT token_id, sealed_sad IS NOT NULL FROM payment_tokens"))
    assert sad == {kept.text: True, gone.text: False, completed.text: False, older.text: False}
    assert rows(url, "SELECT key_id FROM api_keys WHERE revoked_at IS NOT NULL") == [("b",)]
    assert rows(
        url,
        "SELECT purpose, version, state, wrapped_key IS NULL, public_key FROM encryption_keys ORDER BY 1, 2",
    ) == [
        ("audit-signing", "v1", "active", False, log.made.log.public_key),
        ("audit-signing", "v2", "destroyed", True, bytes.fromhex("ab" * 32)),
        ("index", "v1", "active", False, None),
        ("service", "v0", "destroyed", True, None),
        ("service", "v1", "active", False, None),
        ("service", "v2", "destroyed", True, None),
    ]
    assert done.applied.counts == {
        "revoked_tokens": 1,
        "ended_sad": 1,
        "revoked_api_keys": 1,
        "shortened_api_keys": 0,
        "retired_bdks": 0,
        "stopped_devices": 0,
        "ended_keys": 3,
        "unreadable_tokens": 1,
    }
    assert done.endings.made == {"api_keys": 1}


async def test_an_api_key_does_not_come_back_to_a_longer_life(log: Restorable) -> None:
    log.happens(happened())
    with psycopg.connect(log.made.url) as database:
        database.execute(
            "INSERT INTO api_keys (key_id, name, merchants, secret_sha256, expires_at) VALUES"
            " ('endless', '', '{}', '', NULL), ('long', '', '{}', '', '2040-01-01Z'), ('short', '', '{}', '', '2030-01-01Z'),"
            " ('revoked', '', '{}', '', NULL), ('other', '', '{}', '', NULL)"
        )
    url = log.back_up()
    log.happens(
        *(
            happened(kind, details={"key_id": name, "expires_at": expires_at})
            for kind, name, expires_at in (
                (EventKind.API_KEY_ROTATED, "endless", "2031-05-06T07:08:09.123456Z"),
                (EventKind.API_KEY_EXPIRY_CHANGED, "long", "2032-01-01T00:00:00Z"),
                (EventKind.API_KEY_ROTATED, "long", "2031-01-01T00:00:00Z"),
                (EventKind.API_KEY_EXPIRY_CHANGED, "short", "2035-01-01T00:00:00Z"),
                (EventKind.API_KEY_ROTATED, "revoked", "2031-01-01T00:00:00Z"),
                (EventKind.API_KEY_REVOKED, "revoked", "2031-01-01T00:00:00Z"),
                (EventKind.API_KEY_CREATED, "other", "2031-01-01T00:00:00Z"),
                (EventKind.API_KEY_EXPIRY_CHANGED, "other", "never"),
                (EventKind.API_KEY_ROTATED, "unknown", "2031-01-01T00:00:00Z"),
            )
        )
    )
    await exported(log)

    done = await log.recover(url)

    found = (
        "SELECT key_id, expires_at::text, revoked_at IS NULL, replaced_by FROM api_keys ORDER BY 1"
    )
    with psycopg.connect(url, options="-c timezone=UTC") as database:
        assert database.execute(found).fetchall() == [
            ("endless", "2031-05-06 07:08:09.123456+00", True, None),
            ("long", "2031-01-01 00:00:00+00", True, None),
            ("other", None, True, None),
            ("revoked", None, False, None),
            ("short", "2030-01-01 00:00:00+00", True, None),
        ]
    counts = done.applied.counts
    assert (counts["revoked_api_keys"], counts["shortened_api_keys"]) == (1, 2)
    assert not (await log.recover(url)).changes


async def test_a_stolen_device_stays_stolen(log: Restorable) -> None:
    log.happens(happened())
    before = {
        "stolen": "active",
        "again": "active",
        "back": "suspended",
        "retired": "retired",
        "suspended": "registered",
        "kept": "active",
    }
    with psycopg.connect(log.made.url) as database:
        for name, state in before.items():
            database.execute(
                "INSERT INTO devices (merchant_id, device_id, state, profile, initial_key_ids)"
                " VALUES ('m_1', %s, %s, '{}', '{}')",
                (name, state),
            )
    url = log.back_up()
    log.happens(
        *(
            happened(
                EventKind.DEVICE_STATE_CHANGED,
                merchant_id=merchant,
                details={"device_id": name, "to": state, "reason": "the log says so"},
            )
            for merchant, name, state in (
                ("m_1", "stolen", "stolen"),
                ("m_1", "again", "stolen"),
                ("m_1", "again", "active"),
                ("m_1", "back", "active"),
                ("m_1", "retired", "suspended"),
                ("m_1", "suspended", "suspended"),
                ("m_2", "kept", "stolen"),
                ("m_1", "kept", "melted"),
                ("m_1", "unknown", "stolen"),
            )
        ),
        happened(EventKind.DEVICE_REGISTERED, merchant_id="m_1", details={"device_id": "new"}),
        happened(
            EventKind.DEVICE_REGISTERED,
            merchant_id="m_1",
            details={"device_id": "kept", "added_initial_key": "00"},
        ),
    )
    await exported(log)

    done = await log.recover(url)

    assert dict(rows(url, "SELECT device_id, state FROM devices")) == before | {
        "stolen": "stolen",
        "suspended": "suspended",
    }
    assert rows(url, "SELECT DISTINCT state_reason FROM devices WHERE state = 'stolen'") == [
        ("the log says so",)
    ]
    assert done.applied.counts["stopped_devices"] == 2
    assert done.endings.made == {"devices": 1}
    assert not (await log.recover(url)).changes


def key(change: str, purpose: str, version: str, **details: str) -> AuditEvent:
    return happened(
        EventKind.KEY_CHANGED,
        key_name=version,
        details={"key": purpose, "change": change, **details},
    )


async def test_a_version_under_which_records_are_again_is_not_retired(log: Restorable) -> None:
    log.happens(happened())
    (token,) = await log.tokens(1)
    with psycopg.connect(log.made.url) as database:
        database.execute(
            "UPDATE payment_tokens SET service_key = 'v0' WHERE token_id = %s", (token.text,)
        )
    with_record = log.back_up()
    with psycopg.connect(log.made.url) as database:
        database.execute("UPDATE payment_tokens SET service_key = 'v1'")
    without = log.back_up()
    log.happens(key("retired", "service", "v0"))
    await exported(log)

    await log.recover(with_record)
    await log.recover(without)

    state = "SELECT state FROM encryption_keys WHERE purpose = 'service' AND version = 'v0'"
    assert rows(with_record, state) == [("decrypt-only",)]
    assert rows(without, state) == [("destroying",)]


async def test_a_destruction_that_has_begun_leaves_no_wrapped_key(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    due_at = datetime(2031, 5, 1, tzinfo=UTC)
    log.happens(
        key("retired", "service", "v0"),
        key("destruction begun", "service", "v0", due_at=due_at.isoformat()),
    )
    await exported(log)

    await log.recover(url)

    assert rows(
        url,
        "SELECT state, wrapped_key, destruction_due_at FROM encryption_keys WHERE version = 'v0'",
    ) == [("destroying", None, due_at)]


async def test_a_record_that_is_there_without_what_it_tells_of_is_met_too(log: Restorable) -> None:
    """A revocation is recorded before it is done, and the restored state may lie between the two."""
    (token,) = await log.tokens(1)
    log.happens(revoked(token))
    url = log.back_up()
    await exported(log)

    done = await log.recover(url)

    assert (done.put_back, done.applied.revoked_tokens) == (0, 1)
    assert rows(url, "SELECT status FROM payment_tokens") == [("revoked",)]


async def test_records_that_were_not_sealed_yet_come_back_once(log: Restorable) -> None:
    log.happens(happened())
    now = datetime.now(UTC)
    log.made.log.write(now, [happened()] * 5, log.writer)
    url = log.back_up()
    log.made.log.seal(now + timedelta(seconds=1))
    await exported(log)

    done = await log.recover(url, outside=[])

    assert (done.reach.restored, done.reach.archived, done.put_back) == (2, 7, 0)
    assert contents(url)["seals"] == contents(log.made.url)["seals"]


async def test_what_lies_between_the_archive_and_the_outside_is_lost_and_said(
    log: Restorable,
) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(*[happened()] * 3)
    await exported(log)
    log.happens(*[happened()] * 4)

    done = await log.recover(url)
    again = await log.recover(url)

    assert (done.reach.archived, done.reach.lost_to) == (5, 9)
    assert not again.changes
    (details,) = rows(url, "SELECT details::text FROM audit_records WHERE event = 'log_recovered'")
    assert '"lost_from": 5' in str(details)
    assert '"lost_to": 9' in str(details)
    assert '"restored_size": 2' in str(details)
    assert log.outside[-1].root.hex() in str(details)


async def test_the_sealer_goes_on_behind_a_checkpoint_that_was_given_up(
    log: Restorable, tmp_path: Path
) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(*[happened()] * 3)
    await exported(log)
    log.happens(*[happened()] * 4)
    published = CheckpointFile(tmp_path / "checkpoints")
    for outside in log.outside:
        await published.publish(log.made.log.note(outside.size, outside.root))
    keys = OneKey(log.made.log.private_key)
    async with PostgresSealedLogs(url).alone() as sealer:
        assert sealer is not None
        with pytest.raises(LogSetBackError):
            await SealLog.begun(sealer, [published], ORIGIN, keys)

    await log.recover(url)

    async with PostgresSealedLogs(url).alone() as sealer:
        assert sealer is not None
        seal = await SealLog.begun(sealer, [published], ORIGIN, keys)
        done = await seal()
        assert done.note is not None
        await published.publish(done.note)
    report = verified(url, log, published.path)
    assert report.findings == []
    assert any("abandoned" in said or "recover" in said for said in report.remarks)


@dataclass
class OneKey:
    """Meets the port VersionedKeys."""

    key: NamedKey

    async def active(self) -> NamedKey:
        return self.key

    async def named(self, name: str) -> NamedKey | None:
        return self.key if name == self.key.name else None


def verified(url: str, log: Restorable, checkpoints: Path) -> Report:
    keys = TrustedKeys([VerifierKey.parse(log.made.log.vkey)])
    report = new_report(keys)
    with audit_source(url) as source, checkpoints.open() as lines:
        notes = opened_checkpoints("outside", split_notes(lines), keys, report)
        places = [OutsideCheckpoints("outside", notes, report)]
        VerifyLog(source, keys, report, live=source, outside=places)()
    return report


async def test_an_empty_database_gets_the_whole_log(log: Restorable) -> None:
    url = log.back_up()
    log.happens(*[happened()] * 300)
    await exported(log)

    done = await log.recover(url)

    assert done.put_back == 301
    assert contents(url)["seals"] == contents(log.made.url)["seals"]


async def test_it_is_refused_while_the_service_runs(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(happened())
    await exported(log)
    with psycopg.connect(url) as database:
        database.execute(
            "INSERT INTO key_holders VALUES (gen_random_uuid(), 'process 7 on vault-1', '{}', now() + interval '10 s')"
        )

    with pytest.raises(RecoveryError, match="process 7 on vault-1"):
        await log.recover(url)


async def test_it_is_refused_while_the_sealer_runs(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    await exported(log)
    with psycopg.connect(url, autocommit=True) as sealer:
        sealer.execute("SELECT pg_advisory_lock(hashtextextended('payment-token audit sealer', 0))")
        with pytest.raises(RecoveryError, match="sealer runs"):
            await log.recover(url)


async def test_it_is_refused_while_somebody_writes(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    await exported(log)
    with psycopg.connect(url) as database:
        database.execute(
            "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (gen_random_uuid(), 0, '{}')"
        )
        with pytest.raises(RecoveryError, match="stop every process"):
            await log.recover(url)


async def test_an_archive_that_the_verifier_refuses_is_not_put_back(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(happened())
    await exported(log)
    before = contents(url)
    log.wrong = "leaf 2 is not what was sealed"

    with pytest.raises(ArchiveError, match="leaf 2"):
        await log.recover(url)

    assert contents(url) == before


async def test_another_log_is_not_put_into_this_one(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(happened())
    await exported(log)
    with psycopg.connect(url) as database:
        database.execute("ALTER TABLE audit_seals DISABLE TRIGGER append_only")
        database.execute("UPDATE audit_seals SET root = sha256('other')")

    with pytest.raises(RecoveryError, match="differ within the first 2 leaves"):
        await log.recover(url)


async def test_an_outside_checkpoint_that_says_something_else_stops_it(log: Restorable) -> None:
    log.happens(happened())
    url = log.back_up()
    log.happens(happened())
    await exported(log)

    with pytest.raises(RecoveryError, match="the first 3 leaves were others"):
        await log.recover(url, outside=[OutsideCheckpoint(3, bytes(32))])


async def test_a_record_that_differs_from_the_archived_one_stops_it(log: Restorable) -> None:
    log.happens(happened())
    now = datetime.now(UTC)
    log.made.log.write(now, [happened()], log.writer)
    url = log.back_up()
    log.made.log.seal(now + timedelta(seconds=1))
    await exported(log)
    with psycopg.connect(url) as database:
        for table in ("decrypt_audit_log", f"decrypt_audit_log_{now:%Y_%m}"):
            database.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        database.execute(
            "UPDATE decrypt_audit_log SET record = replace(record, 'released', 'refused') WHERE sequence = 2"
        )

    with pytest.raises(RecoveryError, match="another record 2"):
        await log.recover(url, outside=[])
