"""Sealing on a real database: what goes into the tree, what stays out, and who goes on after an interruption."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import psycopg
import pytest

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.log_sealing.chain_check import Chain, Fault
from payment_token.domain.log_sealing.seal import Seal, SealedRun
from payment_token.domain.log_sealing.seal_log import (
    LogSetBackError,
    Sealed,
    SealingStoppedError,
    SealLog,
)
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.frontier import Frontier, TileName
from payment_token.domain.transparency.hashes import leaf_hash
from payment_token.domain.transparency.proofs import consistency_proof, inclusion_proof
from payment_token.domain.transparency.verification import verify_consistency, verify_inclusion
from payment_token.infrastructure.database.audit_sealing import (
    PostgresSealedLog,
    PostgresSealedLogs,
)
from payment_token.infrastructure.database.audit_tiles import PostgresTiles
from tests.support.audit_rows import AuditRow, as_superuser, insert
from tests.support.sealing import (
    KEY,
    ORIGIN,
    OneKey,
    SealedDatabase,
    month_of,
    sealed_database,
)


@pytest.fixture
def log(database_url: str) -> Iterator[SealedDatabase]:
    with sealed_database(database_url) as log:
        yield log


class Place:
    """A place outside that holds one note."""

    name = "a place"

    def __init__(self, note: str | None) -> None:
        self.note = note

    async def beyond(self, size: int) -> str | None:
        return self.note

    async def publish(self, note: str) -> None:
        self.note = note


async def test_an_empty_log_has_no_seal(log: SealedDatabase) -> None:
    done = await log.seal()

    assert (done.records, done.note, done.more) == (0, None, False)
    assert log.sealed() == []


async def test_runs_of_several_writers_become_leaves_in_order(log: SealedDatabase) -> None:
    writers = sorted((log.writer() for _ in range(3)), key=lambda writer: writer.writer_id)
    for writer in writers:
        writer.write(3)

    async with log.term() as seal:
        first = await seal()
        writers[1].write(2)
        writers[0].write(1)
        writers[0].close()
        second = await seal()
        third = await seal()

    assert log.sealed() == [
        *((writer.writer_id.hex, sequence) for writer in writers for sequence in range(3)),
        (writers[0].writer_id.hex, 3),
        (writers[0].writer_id.hex, 4),
        (writers[1].writer_id.hex, 3),
        (writers[1].writer_id.hex, 4),
    ]
    assert (first.records, second.records, third.records) == (9, 4, 0)
    assert third.note is None
    assert log.check_tree() == 13
    assert log.chains()[writers[0].writer_id.hex] == (4, True)
    assert log.chains()[writers[1].writer_id.hex] == (4, False)


async def test_more_than_a_seal_takes_wait_for_the_next_and_nobody_is_left_behind(
    log: SealedDatabase,
) -> None:
    busy, quiet = log.writer(), log.writer()
    busy.write(9000)
    quiet.write(2)

    async with log.term() as seal:
        rounds = [await seal()]
        assert (quiet.writer_id.hex, 1) in log.sealed()
        while rounds[-1].records:
            rounds.append(await seal())

    assert all(round_.records <= 4096 for round_ in rounds)
    assert rounds[1].more
    assert not rounds[-1].more
    assert log.check_tree() == 9002


@pytest.mark.parametrize("before", [1, 255, 256, 257, 700])
async def test_whoever_goes_on_begins_with_what_is_stored(log: SealedDatabase, before: int) -> None:
    writer = log.writer()
    writer.write(before)
    await log.seal()
    writer.write(3)

    assert (await log.seal()).records == 3
    writer.write(300)
    assert (await log.seal()).records == 300

    assert log.check_tree() == before + 303


async def test_a_large_tree_goes_on_from_its_tiles_alone(log: SealedDatabase) -> None:
    # Of a full tile the records need not be there any more: they may be in the archive.
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(65_536)]
    tree = Frontier()
    sealed_long_ago = Seal(
        first_index=0,
        tree_size=65_536,
        tiles=tree.append(leaves),
        root=tree.root,
        runs=[SealedRun(Chain(uuid.uuid4(), 65_535, bytes(32), datetime.now(UTC), ended=True), 0)],
        checkpoint=Checkpoint(ORIGIN, 65_536, tree.root).signed(KEY),
        signing_key=KEY.name,
    )
    async with PostgresSealedLogs(log.url).alone() as stored:
        assert stored is not None
        await stored.write(sealed_long_ago)
    rows: list[AuditRow] = []
    writer = log.writer()

    for count in (300, 1):
        rows += writer.write(count)
        checkpoint = Checkpoint.read(str((await log.seal()).note))
        tree.append([leaf_hash(row.entry) for row in rows[-count:]])
        assert checkpoint == Checkpoint(ORIGIN, tree.size, tree.root)

    levels = log.database.execute("SELECT level, count(*) FROM audit_tiles GROUP BY 1 ORDER BY 1")
    assert levels.fetchall() == [(0, 257), (1, 1)]


async def test_proofs_come_from_what_is_stored(log: SealedDatabase) -> None:
    writer = log.writer()
    rows = list(writer.write(700))
    await log.seal()
    old = Checkpoint.read(str((await log.seal()).note or _checkpoint(log)))
    rows += writer.write(100)
    await log.seal()
    new = Checkpoint.read(_checkpoint(log))

    async with await psycopg.AsyncConnection.connect(log.url) as connection:
        tiles = PostgresTiles(connection)
        for index in (0, 255, 256, 699, 799):
            leaf = leaf_hash(rows[index].entry)
            proof = await inclusion_proof(tiles, index, new.size)
            verify_inclusion(leaf, index, new.size, proof, new.root)
        proof = await consistency_proof(tiles, old.size, new.size)
        verify_consistency(old.size, old.root, new.size, new.root, proof)
        with pytest.raises(LookupError):
            await tiles.read(TileName(0, 7), 256)


def _checkpoint(log: SealedDatabase) -> str:
    row = log.database.execute(
        "SELECT checkpoint FROM audit_seals ORDER BY tree_size DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return str(row[0])


async def _refused(log: SealedDatabase, sound: int, *, again: bool = True) -> list[Fault]:
    """Seals, finds another writer's records sealed as well, and nothing of the bad one's from ``sound`` on."""
    other = log.writer()
    other.write(2)
    async with log.term() as seal:
        done = await seal()
        quiet = await seal()
        assert quiet.refusals == []
        assert len(seal.refused) == len(done.refusals)
    assert (other.writer_id.hex, 1) in log.sealed()
    assert done.tree_size == sound + 2
    assert log.check_tree() == sound + 2
    # Whoever comes next finds it, too; but for a writer that has ended, and months that are over, which it does not look at.
    assert [refusal.fault for refusal in (await log.seal()).refusals] == (
        [refusal.fault for refusal in done.refusals] if again else []
    )
    return [refusal.fault for refusal in done.refusals]


async def test_a_gap_stops_its_writer_alone(log: SealedDatabase) -> None:
    writer = log.writer()
    writer.write(5)
    with as_superuser(log.database) as database:
        database.execute("DELETE FROM decrypt_audit_log WHERE sequence = 2")

    assert await _refused(log, sound=2) == [Fault.GAP]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"previous": "00" * 32}, Fault.BROKEN_CHAIN),
        ({"sequence": 7}, Fault.OTHER_PLACE),
        ({"sequence": True}, Fault.NOT_A_RECORD),
        ({"writer_id": "00" * 16}, Fault.OTHER_PLACE),
        ({"event": "log_opened"}, Fault.NOT_OPENED),
        ({"v": 2}, Fault.NOT_A_RECORD),
        ({"event_time": "yesterday"}, Fault.NOT_A_RECORD),
        ({"event_time": "2026-99-99T00:00:00.000000Z"}, Fault.NOT_A_RECORD),
        ({"event_time": 5}, Fault.NOT_A_RECORD),
    ],
)
async def test_a_record_that_is_not_the_next_one_is_refused(
    log: SealedDatabase, members: dict[str, object], fault: Fault
) -> None:
    writer = log.writer()
    writer.write(3)
    writer.write(1, **members)
    writer.write(2)

    assert await _refused(log, sound=3) == [fault]


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"', "[" * 4000, "{}"])
async def test_what_is_no_record_is_refused(log: SealedDatabase, text: str) -> None:
    writer = log.writer()
    writer.write(1)
    with as_superuser(log.database) as database:
        # The index would not take it.
        database.execute("DROP INDEX decrypt_audit_log_token_id_idx")
        insert(database, [AuditRow(writer.writer_id, 1, datetime.now(UTC), text)])

    assert await _refused(log, sound=1) == [Fault.NOT_A_RECORD]


@pytest.mark.parametrize("seconds", [-2.1, 2.1])
async def test_a_clock_that_is_more_than_two_seconds_off_is_refused(
    log: SealedDatabase, seconds: float
) -> None:
    writer, now = log.writer(), datetime.now(UTC)
    writer.write(2, recorded_at=now, happened_at=now + timedelta(seconds=seconds / 2))
    writer.write(2, recorded_at=now, happened_at=now + timedelta(seconds=seconds))

    assert await _refused(log, sound=2) == [Fault.CLOCK]


async def test_a_record_after_the_end_of_its_writer_is_refused(log: SealedDatabase) -> None:
    writer = log.writer()
    writer.write(2)
    writer.close()
    writer.write(1)

    assert await _refused(log, sound=3, again=False) == [Fault.AFTER_END]


async def test_a_record_without_a_beginning_is_refused(log: SealedDatabase) -> None:
    writer = log.writer()
    writer.write(1, event="decrypt")

    assert await _refused(log, sound=0) == [Fault.NOT_OPENED]


async def test_a_row_that_is_dated_back_is_refused(log: SealedDatabase) -> None:
    known, late, new = log.writer(), log.writer(), log.writer()
    long_ago = datetime.now(UTC) - timedelta(minutes=61)
    known.write(2)
    await log.seal()
    known.write(1, recorded_at=long_ago)
    # Late, and not later than a transaction may be.
    late.write(2, recorded_at=datetime.now(UTC) - timedelta(minutes=59))
    if month_of(long_ago) == month_of(datetime.now(UTC)):
        new.write(1, recorded_at=long_ago)

    done = await log.seal()

    assert {refusal.fault for refusal in done.refusals} == {Fault.BACKDATED}
    assert known.writer_id in {refusal.writer_id for refusal in done.refusals}
    assert done.records == 2
    assert log.check_tree() == 4


async def test_a_row_in_another_month_is_refused(log: SealedDatabase) -> None:
    writer = log.writer()
    writer.write(2)
    last_month = (month_of(datetime.now(UTC)) - timedelta(days=1)).replace(day=1)
    log.make_partition(last_month)
    with as_superuser(log.database) as database:
        database.execute(
            "UPDATE decrypt_audit_log SET month = %s WHERE sequence = 1", (last_month,)
        )

    assert await _refused(log, sound=1, again=False) == [Fault.OTHER_MONTH]


async def test_a_chain_goes_on_over_the_end_of_a_month(log: SealedDatabase) -> None:
    this_month = datetime.combine(month_of(datetime.now(UTC)), datetime.min.time(), tzinfo=UTC)
    log.make_partition(month_of(this_month - timedelta(days=1)))
    writer, early = log.writer(), log.writer()
    writer.write(3, recorded_at=this_month - timedelta(seconds=1))
    early.write(1, recorded_at=this_month - timedelta(seconds=1))
    # One batch, half of it in each month.
    writer.write(4, recorded_at=this_month + timedelta(microseconds=1))
    early.write(1, recorded_at=this_month)

    async with log.term() as seal:
        done = await seal()
    assert done.refusals == []
    months = log.database.execute("SELECT count(DISTINCT month) FROM decrypt_audit_log").fetchone()
    assert months == (2,)
    assert log.check_tree() == 9


async def test_of_two_sealers_one_stands_by_and_takes_over(log: SealedDatabase) -> None:
    logs = PostgresSealedLogs(log.url)
    log.writer().write(2)
    async with log.term() as seal:
        async with logs.alone() as second:
            assert second is None
        await seal()
    async with logs.alone() as second:
        assert second is not None


async def test_two_who_both_seal_cannot_both_write(
    log: SealedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log.writer()
    writer.write(2)
    async with await psycopg.AsyncConnection.connect(log.url, autocommit=True) as connection:
        # As if the lock did not hold: a split between two servers, or a lock that somebody took away.
        view = PostgresSealedLog(connection)
        rogue = await SealLog.begun(view, [], ORIGIN, OneKey())
        found = await view.waiting(None, [], 10)
        monkeypatch.setattr(view, "waiting", AsyncMock(return_value=found))
        await log.seal()
        with pytest.raises(psycopg.errors.UniqueViolation):
            await rogue()

    assert log.check_tree() == 2


@pytest.mark.parametrize("table", ["audit_seals", "audit_tiles", "audit_chains"])
async def test_a_seal_that_breaks_off_leaves_nothing(log: SealedDatabase, table: str) -> None:
    writer = log.writer()
    writer.write(300)
    log.database.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$"
    )
    log.database.execute(f"CREATE TRIGGER broken BEFORE INSERT ON {table} EXECUTE FUNCTION fail()")

    with pytest.raises(DatabaseUnavailableError):
        await log.seal()
    assert log.sealed() == []
    assert log.chains() == {}

    log.database.execute(f"DROP TRIGGER broken ON {table}")
    assert (await log.seal()).records == 300
    assert log.check_tree() == 300


async def test_a_sealer_that_dies_after_its_commit_is_followed_by_one_that_publishes(
    log: SealedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.writer().write(3)
    original = PostgresSealedLog.write

    async def write_and_die(self: PostgresSealedLog, seal: Seal) -> datetime:
        await original(self, seal)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(PostgresSealedLog, "write", write_and_die)
        with pytest.raises(asyncio.CancelledError):
            await log.seal()

    async with log.term() as seal:
        assert seal.checkpoint == _checkpoint(log)
        assert (await seal()).records == 0
    assert log.check_tree() == 3


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE decrypt_audit_log SET record = replace(record, 'm_1', 'm_2') WHERE sequence = 299",
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at + interval '1 microsecond' WHERE sequence = 299",
        "DELETE FROM decrypt_audit_log WHERE sequence = 299",
        "UPDATE audit_tiles SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)",
        "DELETE FROM audit_tiles",
        "UPDATE audit_seals SET root = sha256('')",
        "UPDATE audit_seals SET first_sequences = '{1}', last_sequences = '{300}'",
        "DELETE FROM audit_seals WHERE tree_size = 300",
    ],
)
async def test_nothing_is_signed_on_top_of_what_was_changed(
    log: SealedDatabase, tampering: str
) -> None:
    writer = log.writer()
    writer.write(150)
    await log.seal()
    writer.write(150)
    note = str((await log.seal()).note)
    with as_superuser(log.database) as database:
        database.execute(tampering)
    writer.write(1)

    with pytest.raises(SealingStoppedError):
        await log.seal(Place(note))


async def test_a_log_that_was_set_back_is_not_sealed(log: SealedDatabase) -> None:
    writer = log.writer()
    writer.write(5)
    await log.seal()
    elsewhere = Checkpoint(ORIGIN, 6, b"x" * 32)
    with pytest.raises(LogSetBackError, match="6 records"):
        await log.seal(Place(elsewhere.signed(KEY)))
    with pytest.raises(LogSetBackError):
        await log.seal(Place(Checkpoint(ORIGIN, 5, b"x" * 32).signed(KEY)))
    with pytest.raises(SealingStoppedError):
        await log.seal(Place("what is no note"))

    # Whoever restored it has said so, in the log itself.
    log.writer().write(
        1, details={"abandoned_tree_size": 6, "abandoned_root": elsewhere.root.hex()}
    )
    recovery = log.writer()
    recovery.write(1)
    recovery.write(
        1,
        event="log_recovered",
        details={"abandoned_tree_size": 6, "abandoned_root": elsewhere.root.hex()},
    )
    assert (await log.seal(Place(elsewhere.signed(KEY)))).records == 3


async def test_a_database_that_is_away_is_an_outage() -> None:
    with pytest.raises(DatabaseUnavailableError):
        async with PostgresSealedLogs("postgresql://postgres@127.0.0.1:1/none").alone():
            pass


async def test_how_long_a_record_waited_is_known(log: SealedDatabase) -> None:
    log.writer().write(2, recorded_at=datetime.now(UTC) - timedelta(seconds=90))

    done: Sealed = await log.seal()

    assert 89 < done.lag_seconds < 120


async def test_a_writer_that_is_refused_holds_up_nobody_of_thousands(log: SealedDatabase) -> None:
    bad = log.writer()
    bad.write(1, event="decrypt")
    bad.write(5000)
    good = log.writer()
    good.write(3)

    async with log.term() as seal:
        assert (await seal()).records == 3
        assert (await seal()).more is False
    assert uuid.UUID(log.sealed()[0][0]) == good.writer_id
