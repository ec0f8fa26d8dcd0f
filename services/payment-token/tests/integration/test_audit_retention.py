"""Months leave the database once they are in an archive, and an archive once nothing asks for them any more."""

import gzip
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from payment_token.bootstrap.archive_verifier import IndependentVerifier
from payment_token.domain.audit import Actor, EventKind
from payment_token.domain.audit_archive.archive_months import ArchiveMonths, Step
from payment_token.domain.audit_archive.close_months import CloseMonths
from payment_token.domain.audit_archive.export_log import ExportLog
from payment_token.domain.audit_archive.layout import ArchiveError
from payment_token.domain.audit_archive.legal_hold import LegalHoldError, LegalHolds
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.remove_expired import Removed, RemoveExpired
from payment_token.domain.audit_archive.retention import Retention
from payment_token.infrastructure.database.archive_registers import (
    PostgresExportRegister,
    PostgresHoldRegister,
)
from payment_token.infrastructure.database.audit_partitions import PostgresMonthPartitions
from payment_token.infrastructure.database.sealed_log import connected
from tests.fakes.memory_audit_log import MemoryAuditLog
from tests.fakes.memory_token_store import MemoryTokenStore
from tests.support.archives import Archiving, archiving

OPERATOR = Actor("operator:test")
RETENTION = Retention(hot_months=13, years=7)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Kept:
    """The commands of an operator on one archive."""

    made: Archiving
    audit_log: MemoryAuditLog
    holds: LegalHolds
    connection: psycopg.AsyncConnection
    verified: int = 0

    async def _verify(self, location: str, since: int = 0) -> None:
        await IndependentVerifier([self.made.log.public_key])(location, since)
        self.verified += 1

    async def archive(self, now: str) -> list[str]:
        archive = self.made.archive
        work = ArchiveMonths(
            archive=archive,
            export=ExportLog(self.made.sealed, archive),
            close=CloseMonths(self.made.sealed, archive, self.made.log.sign),
            verify=self._verify,
            register=PostgresExportRegister(self.connection, archive.location),
            partitions=PostgresMonthPartitions(self.connection),
            audit_log=self.audit_log,
            operator=OPERATOR,
            retention=RETENTION,
        )
        with archive.alone():
            steps: list[Step] = [step async for step in work(at(now), lambda _done, _of: None)]
        return [f"{step.month} {step.done}" for step in steps]

    async def remove(self, now: str, up_to: str | None = None) -> list[Removed]:
        work = RemoveExpired(
            archive=self.made.archive,
            holds=PostgresHoldRegister(self.connection),
            audit_log=self.audit_log,
            operator=OPERATOR,
            retention=RETENTION,
        )
        month = None if up_to is None else Month.parse(up_to)
        return [removed async for removed in work(at(now), month)]

    def recorded(self) -> list[EventKind]:
        return [event.kind for event in self.audit_log.events]

    async def months_in_database(self) -> list[str]:
        present = await PostgresMonthPartitions(self.connection).present()
        return [str(month) for month in present]


def leaving(steps: list[str]) -> list[str]:
    return [step for step in steps if "left" in step]


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def kept(database_url: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with (
        archiving(database_url, tmp_path / "archive") as made,
        connected(database_url) as connection,
    ):
        audit_log = MemoryAuditLog(MemoryTokenStore(_now, timedelta(1)), _now)
        holds = LegalHolds(PostgresHoldRegister(connection), audit_log, OPERATOR)
        yield Kept(made, audit_log, holds, connection)


async def test_a_closed_month_is_verified_noted_and_leaves_the_database_when_it_is_old(
    kept: Kept,
) -> None:
    kept.made.log.month("2025-06", 700)
    kept.made.log.month("2025-07", 300)

    assert await kept.archive("2025-08-20") == [
        "2025-06 closed",
        "2025-07 closed",
        "2025-06 verified in the archive: 701 records",
        "2025-07 verified in the archive: 301 records",
    ]
    assert not leaving(await kept.archive("2026-07-31"))
    verified = kept.verified
    assert await kept.archive("2026-08-01") == ["2025-06 left the database: 701 records"]

    assert kept.verified == verified + 1
    assert "2025-06" not in await kept.months_in_database()
    assert kept.recorded().count(EventKind.MONTH_DETACHED) == 1
    assert kept.recorded()[:2] == [EventKind.MONTH_ARCHIVED] * 2
    assert kept.audit_log.events[-1].details["month"] == "2025-06"
    kept.made.log.month("2026-08", 20)
    assert (await kept.made.export()).after == kept.made.log.tree.size


@pytest.mark.parametrize("when", ["2025-10-01", "2026-10-01"])
@pytest.mark.parametrize(
    "name", ["tile/entries/000.gz", "tile/0/000", "months/2025-06.json", "seals.jsonl"]
)
async def test_what_the_verifier_does_not_like_stays_in_the_database(
    kept: Kept, name: str, when: str
) -> None:
    kept.made.log.month("2025-06", 700)
    if when == "2026-10-01":
        await kept.archive("2025-10-01")
    else:
        await kept.made.export()
        await kept.made.close(when)
    path = kept.made.folder / name
    content = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    place = len(content) // 2
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    if name == "seals.jsonl":
        changed = content.partition(b"\n")[2]
    path.write_bytes(gzip.compress(changed) if name.endswith("gz") else changed)

    with pytest.raises(ArchiveError):
        await kept.archive(when)

    assert "2025-06" in await kept.months_in_database()


async def test_rows_that_the_archive_does_not_have_keep_a_month_in_the_database(kept: Kept) -> None:
    kept.made.log.month("2025-06", 70)
    kept.made.log.month("2025-07", 300)
    await kept.archive("2025-10-01")
    with psycopg.connect(kept.made.url) as database:
        database.execute(
            "INSERT INTO decrypt_audit_log (month, writer_id, sequence, record)"
            " VALUES ('2025-06-01', gen_random_uuid(), 0, '{}')"
        )

    with pytest.raises(ArchiveError, match="72 records of 2025-06, and the archive 71"):
        await kept.archive("2026-10-01")

    assert "2025-06" in await kept.months_in_database()


async def test_a_month_at_the_edge_of_the_tree_stays_until_the_log_has_grown(kept: Kept) -> None:
    kept.made.log.month("2025-06", 70)
    assert not leaving(await kept.archive("2026-10-01"))
    kept.made.log.month("2026-09", 300)
    assert leaving(await kept.archive("2026-10-01")) == ["2025-06 left the database: 71 records"]


async def test_a_detach_that_was_interrupted_is_finished(kept: Kept) -> None:
    kept.made.log.month("2025-06", 70)
    kept.made.log.month("2025-07", 300)
    await kept.archive("2025-10-01")
    with psycopg.connect(kept.made.url, autocommit=True) as database:
        database.execute(
            "ALTER TABLE decrypt_audit_log DETACH PARTITION decrypt_audit_log_2025_06 CONCURRENTLY"
        )

    assert leaving(await kept.archive("2026-08-01")) == ["2025-06 left the database: 71 records"]

    assert "2025-06" not in await kept.months_in_database()


async def test_entries_go_after_seven_years_and_the_tree_above_them_stays(kept: Kept) -> None:
    kept.made.log.month("2025-06", 1000)
    kept.made.log.month("2025-07", 1000)
    await kept.archive("2025-09-01")
    before = kept.made.files()

    assert await kept.remove("2032-06-30") == []
    (june,) = await kept.remove("2032-07-01")

    after = kept.made.files()
    assert (str(june.month), june.leaves) == ("2025-06", 1001)
    assert set(before) - set(after) == {f"tile/entries/{number:03}.gz" for number in range(3)}
    assert after["minimum-index"] == b"1001\n"
    assert after["checkpoints"] == before["checkpoints"]
    await kept._verify(str(kept.made.folder))
    assert await kept.remove("2032-07-01") == []
    await kept.made.export()


async def test_what_is_younger_is_not_removed_whoever_asks(kept: Kept) -> None:
    kept.made.log.month("2025-06", 300)
    kept.made.log.month("2025-07", 300)
    await kept.archive("2025-09-01")
    files = kept.made.files()

    with pytest.raises(ArchiveError, match="2025-06 is kept until 2032-07-01, for 7 years"):
        await kept.remove("2032-06-30", "2025-06")
    assert kept.made.files() == files
    with pytest.raises(ArchiveError, match="2025-07 is kept until 2032-08-01"):
        await kept.remove("2032-07-01", "2025-07")


async def test_a_month_under_a_legal_hold_stays_until_the_hold_is_released(kept: Kept) -> None:
    for month in ("2025-06", "2025-07", "2025-08"):
        kept.made.log.month(month, 300)
    await kept.archive("2025-10-01")
    july = Month.parse("2025-07")
    await kept.holds.place("case-17", "the court of 2032", july, july)
    everything = await kept.holds.place("all", "an audit", None, None)

    with pytest.raises(ArchiveError, match="2025-06 is under the legal hold all: an audit"):
        await kept.remove("2033-01-01")
    await kept.holds.release(everything.hold_id)
    with pytest.raises(ArchiveError, match="2025-07 is under the legal hold case-17"):
        await kept.remove("2033-01-01")
    # Those before it have gone, those after it wait: an archive is whole from one leaf on.
    assert kept.made.files()["minimum-index"] == b"301\n"
    await kept.holds.release("case-17")
    assert [str(removed.month) for removed in await kept.remove("2033-01-01")] == [
        "2025-07",
        "2025-08",
    ]

    holds = [kind for kind in kept.recorded() if "hold" in kind]
    assert holds == [EventKind.LEGAL_HOLD_PLACED] * 2 + [EventKind.LEGAL_HOLD_RELEASED] * 2


async def test_a_hold_that_makes_no_sense_is_refused(kept: Kept) -> None:
    june, july = Month.parse("2025-06"), Month.parse("2025-07")
    for hold_id, reason, first, last in (
        ("", "reason", None, None),
        ("with space", "reason", None, None),
        ("x", "", None, None),
        ("x", "two\nlines", None, None),
        ("x", "reason", june, None),
        ("x", "reason", july, june),
    ):
        with pytest.raises(LegalHoldError):
            await kept.holds.place(hold_id, reason, first, last)
    await kept.holds.place("x", "reason", june, july)
    with pytest.raises(LegalHoldError, match="another id"):
        await kept.holds.place("x", "another", None, None)
    with pytest.raises(LegalHoldError, match="no hold y"):
        await kept.holds.release("y")
    await kept.holds.release("x")
    with pytest.raises(LegalHoldError, match="no hold x"):
        await kept.holds.release("x")


async def test_writers_go_on_while_a_month_leaves(kept: Kept) -> None:
    kept.made.log.month("2025-06", 70)
    kept.made.log.month("2025-07", 300)
    await kept.archive("2025-10-01")
    ended = threading.Event()

    def write() -> int:
        written = 0
        with psycopg.connect(kept.made.url, autocommit=True) as database:
            database.execute("SET statement_timeout = '500ms'")
            while not ended.is_set():
                database.execute(
                    "INSERT INTO decrypt_audit_log (writer_id, sequence, record)"
                    " VALUES (gen_random_uuid(), 0, '{}')"
                )
                written += 1
        return written

    with ThreadPoolExecutor(1) as thread:
        writer = thread.submit(write)
        steps = leaving(await kept.archive("2026-08-01"))
        ended.set()

        assert steps == ["2025-06 left the database: 71 records"]
        assert writer.result() > 0
