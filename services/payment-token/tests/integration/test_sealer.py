"""The sealer of a process: it seals again and again, says what is wrong, and publishes to the places outside."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from payment_token.bootstrap import sealer as sealer_module
from payment_token.bootstrap.sealer import Sealer
from payment_token.domain.errors import EncryptionKeyOverdueError
from payment_token.domain.keys import NamedKey
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import split_notes
from payment_token.settings import ConfigurationError, Environment, Settings
from tests.support.audit_rows import as_superuser
from tests.support.sealing import (
    KEY,
    ORIGIN,
    VERIFIER,
    OneKey,
    SealedDatabase,
    sealed_database,
)


@pytest.fixture
def log(database_url: str) -> Iterator[SealedDatabase]:
    with sealed_database(database_url) as log:
        yield log


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEAL_SECONDS", "STAND_BY_SECONDS", "STOPPED_SECONDS"):
        monkeypatch.setattr(sealer_module, name, 0.05)


class NoKey(OneKey):
    async def active(self) -> NamedKey:
        raise EncryptionKeyOverdueError


def settings(file: Path | None, **changes: object) -> Settings:
    return Settings(
        **{"environment": Environment.TEST, "audit_checkpoint_file": file} | changes  # type: ignore[arg-type]
    )


@asynccontextmanager
async def sealing(
    log: SealedDatabase, file: Path, keys: OneKey | None = None, **changes: object
) -> AsyncIterator[Sealer]:
    made = Sealer(settings(file, **changes), log.url, keys or OneKey())
    async with made.at_work():
        yield made


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a condition of the database
            await asyncio.sleep(0.02)


def _published(file: Path) -> list[int]:
    notes = split_notes(file.read_text()) if file.exists() else []
    return [Checkpoint.verified(note, ORIGIN, [VERIFIER]).size for note in notes]


async def test_what_is_written_is_sealed_and_published(log: SealedDatabase, tmp_path: Path) -> None:
    file, writer = tmp_path / "checkpoints", log.writer()
    async with sealing(log, file) as sealer:
        writer.write(3)
        await _until(lambda: _published(file) == [3])
        writer.write(9000)
        await _until(lambda: _published(file)[-1:] == [9003])
        assert await sealer.readiness() == {}
        # What comes until the very end is sealed as well.
        writer.close()

    assert _published(file)[-1] == 9004
    assert log.check_tree() == 9004


async def test_a_bad_record_is_an_alarm_and_the_others_go_on(
    log: SealedDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = log.writer(), log.writer()
    async with sealing(log, tmp_path / "checkpoints") as sealer:
        bad.write(2)
        await _until(lambda: len(log.sealed()) == 2)
        bad.write(2, previous="00" * 32)
        good.write(2)
        await _until(lambda: len(log.sealed()) == 4)
        await _until(lambda: sealer.metrics.refused.collect()[0].samples[0].value)
        assert await sealer.readiness() == {"audit_writers": "audit_writer_refused"}

    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert [(record.fault, record.sequence) for record in alarms] == [("broken_chain", 2)]  # type: ignore[attr-defined]


async def test_it_says_what_it_lacks_and_goes_on_when_it_is_back(
    log: SealedDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoints"
    log.writer().write(2)
    keys = NoKey()
    async with sealing(log, file, keys) as sealer:
        await _until(lambda: sealer._failing)
        assert await sealer.readiness() == {"audit_sealing": "encryption_key_overdue"}
        with mock.patch.object(NoKey, "active", OneKey.active):
            await _until(lambda: _published(file) == [2])
            assert await sealer.readiness() == {}


async def test_a_connection_that_dies_is_replaced(log: SealedDatabase, tmp_path: Path) -> None:
    writer = log.writer()
    async with sealing(log, tmp_path / "checkpoints"):
        for count in range(1, 4):
            writer.write(1)
            await _until(lambda count=count: len(log.sealed()) == count)
            log.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'payment-token sealer' AND datname = current_database()"
            )
        writer.write(1)
        await _until(lambda: len(log.sealed()) == 4)

    assert log.check_tree() == 4


async def test_one_stands_by_and_takes_over(
    log: SealedDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, writer = tmp_path / "checkpoints", log.writer()
    async with sealing(log, file) as first:
        await _until(lambda: "sealing the audit log" in caplog.text)
        async with sealing(log, file) as second:
            writer.write(5)
            await _until(lambda: "standing by" in caplog.text)
            await _until(lambda: len(log.sealed()) == 5)
            assert await second.readiness() == {}
            first._ending.set()
            await asyncio.sleep(0.2)
            writer.write(5)
            await _until(lambda: _published(file)[-1:] == [10])

    assert log.check_tree() == 10


async def test_a_place_that_is_away_stops_no_seal_and_gets_the_checkpoint_later(
    log: SealedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer_module, "UNPUBLISHED_SECONDS", 0.05)
    folder = tmp_path / "volume"
    file, writer = folder / "checkpoints", log.writer()
    async with sealing(log, file) as sealer:
        writer.write(2)
        await _until(lambda: len(log.sealed()) == 2)
        await asyncio.sleep(0.1)
        assert await sealer.readiness() == {"audit_checkpoints": "checkpoint_not_published"}
        folder.mkdir()
        await _until(lambda: _published(file) == [2])
        await asyncio.sleep(0.05)
        assert await sealer.readiness() == {}


async def test_what_was_never_published_is_published_by_whoever_comes_next(
    log: SealedDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoints"
    log.writer().write(2)
    await log.seal()

    async with sealing(log, file):
        await _until(lambda: _published(file) == [2])


async def test_a_log_that_was_set_back_is_an_alarm_and_in_development_a_new_beginning(
    log: SealedDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "checkpoints"
    file.write_text(Checkpoint(ORIGIN, 100, bytes(32)).signed(KEY) + "\n")
    log.writer().write(2)

    async with sealing(log, file) as sealer:
        await _until(lambda: sealer._failing)
        assert await sealer.readiness() == {"audit_sealing": "audit_log_set_back"}
        await asyncio.sleep(0.2)
    assert log.sealed() == []
    assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == [
        "the audit log is not sealed"
    ]

    async with sealing(
        log, file, environment=Environment.DEVELOPMENT, audit_log_origin=ORIGIN
    ) as sealer:
        await _until(lambda: _published(file) == [2])
    assert (tmp_path / "checkpoints.1").exists()


async def test_what_was_changed_is_an_alarm(log: SealedDatabase, tmp_path: Path) -> None:
    log.writer().write(2)
    await log.seal()
    with as_superuser(log.database) as database:
        database.execute("DELETE FROM decrypt_audit_log WHERE sequence = 1")

    async with sealing(log, tmp_path / "checkpoints") as sealer:
        await _until(lambda: sealer._failing)
        assert await sealer.readiness() == {"audit_sealing": "audit_log_changed"}


async def test_a_database_that_is_away_is_said(log: SealedDatabase, tmp_path: Path) -> None:
    away = SealedDatabase("postgresql://postgres@127.0.0.1:1/none", log.database)
    async with sealing(away, tmp_path / "checkpoints") as sealer:
        await _until(lambda: sealer._failing)
        assert await sealer.readiness() == {"audit_sealing": "database_unavailable"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"environment": Environment.PRODUCTION}, "AUDIT_CHECKPOINT_FILE"),
        ({"audit_checkpoint_bucket": "s3://bucket"}, "AWS_REGION"),
    ],
)
async def test_a_sealer_without_a_place_does_not_start(
    changes: dict[str, object], name: str
) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Sealer(settings(None, **changes), "", OneKey())
