"""Whoever owns the database may do anything to the audit log. None of it passes unseen, and the first bad index is right.

As superuser, on a log of 50,000 records (1,000,000 in the long form) that the service's own sealer has sealed. Each case changes it in a transaction that is
rolled back; the verifier reads on the same connection.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import VerifyLog
from payment_token.infrastructure.database.audit_source import DatabaseLog
from tests.support.databases import own_database
from tests.support.long_form import usual_or_long
from tests.support.made_logs import (
    KEY,
    OTHER_KEY,
    MadeLog,
    MadeRow,
    MadeSeal,
    canonical,
    checkpoint,
    insert_key,
    insert_rows,
    insert_seals,
    made_log,
    vkey,
)
from tests.support.sealed_for_real import read_sealed, seal_everything

_RECORDS = usual_or_long(50_000, 1_000_000)
_UNSEALED = 30
_OF_A_SEAL = usual_or_long(250, 4096)
_EVERYTHING = "decrypt_audit_log, audit_seals, audit_tiles, audit_chains, encryption_keys"


@dataclass(frozen=True, slots=True)
class SealedLog:
    """In a database of its own, the newest records not sealed. ``middle`` is a record that anything may be done to."""

    database: psycopg.Connection
    log: MadeLog
    middle: int

    @property
    def seal(self) -> MadeSeal:
        """One in the middle."""
        return self.log.seals[len(self.log.seals) // 2]

    def first_of_seal(self, index: int) -> int:
        """Where the seal that covers a leaf begins."""
        return next(seal.first_index for seal in self.log.seals if index < seal.tree_size)

    def verify(
        self,
        outside: list[str] | None = None,
        receipts: tuple[str, ...] = (),
        keys: tuple[str, ...] = (vkey(),),
    ) -> Report:
        trusted = TrustedKeys(map(VerifierKey.parse, keys))
        report = Report(trusted.origin, [])
        notes = self.log.checkpoints() if outside is None else outside
        kept = opened_checkpoints("the file", split_notes(notes), trusted, report)
        return VerifyLog(
            source := DatabaseLog(self.database),
            trusted,
            report,
            live=source,
            outside=[OutsideCheckpoints("the file", kept, report)],
            receipts=Receipts.parse(receipts),
        )()

    def execute(self, statement: str, *parameters: object) -> int:
        """As whoever owns everything: no trigger stands in the way. Gives the number of rows."""
        return self.database.execute(statement, parameters).rowcount

    def where(self, index: int) -> tuple[str, int]:
        row = self.log.rows[index]
        return row.writer_id, row.sequence

    def indexes_of(self, writer_id: str) -> list[int]:
        return [place for place, row in enumerate(self.log.rows) if row.writer_id == writer_id]

    def put(self, row: MadeRow, month: str | None = None) -> None:
        self.execute(
            "INSERT INTO decrypt_audit_log (month, writer_id, sequence, recorded_at, record) VALUES (%s, %s, %s, %s, %s)",
            month or row.month,
            row.writer_id,
            row.sequence,
            row.recorded_at,
            row.record,
        )

    def write_record(self, index: int, record: str) -> None:
        assert (
            self.execute(
                "UPDATE decrypt_audit_log SET record = %s WHERE writer_id = %s AND sequence = %s",
                record,
                *self.where(index),
            )
            == 1
        )

    def write_again(self, log: MadeLog, first: int = 0) -> None:
        """Another log in place of this one, which differs from ``first`` on."""
        for place in range(first, len(log.rows)):
            if log.rows[place].record != self.log.rows[place].record:
                self.write_record(place, log.rows[place].record)
        self.execute("TRUNCATE audit_seals, audit_tiles, audit_chains")
        insert_seals(self.database, log)


@pytest.fixture(scope="module")
def sealed(server_url: str, template: str) -> Iterator[SealedLog]:
    """Recorded within the last hour, because the sealer takes nothing older; a month may begin within it."""
    span = timedelta(minutes=usual_or_long(8, 45))
    made = made_log(
        _RECORDS, datetime.now(UTC) - span, unsealed=_UNSEALED, between=span / (_RECORDS + 1000)
    )
    with own_database(server_url, template) as url, psycopg.connect(url) as database:
        insert_rows(database, made.rows[:_RECORDS])
        insert_key(database)
        database.commit()
        database.execute("ANALYZE decrypt_audit_log")
        database.commit()
        asyncio.run(seal_everything(url, _OF_A_SEAL))
        log = read_sealed(database, made.rows)
        log.rows += made.rows[_RECORDS:]
        insert_rows(database, made.rows[_RECORDS:])
        # It reads every record as JSON. Whoever changes one into something else drops it first.
        database.execute("DROP INDEX decrypt_audit_log_token_id_idx")
        database.commit()
        yield SealedLog(database, log, _middle(log))


def _middle(log: MadeLog) -> int:
    """A release about a third into the tree, with records of its writer beside it, and a hundred after it."""
    last = {row.writer_id: row.sequence for row in log.rows[:_RECORDS]}
    return next(
        place
        for place in range(_RECORDS // 3, _RECORDS)
        if "settle" in log.rows[place].record
        and log.rows[place].sequence + 100 < last[log.rows[place].writer_id]
        and len({row.writer_id for row in log.rows[place - 1 : place + 2]}) == 1
    )


@pytest.fixture
def log(sealed: SealedLog) -> Iterator[SealedLog]:
    sealed.execute("SET LOCAL session_replication_role = replica")
    yield sealed
    sealed.database.rollback()


def _assert_found(report: Report, index: int, *words: str) -> None:
    assert report.verdict is Verdict.TAMPERED
    assert report.first_bad_index == index, report.findings[:5]
    said = " ".join(found.what for found in report.findings)
    for word in words:
        assert word in said, said


# Nothing was changed


def test_an_honest_log_raises_no_alarm(log: SealedLog) -> None:
    receipts = tuple(row.receipt for row in log.log.rows[: _RECORDS : _RECORDS // 20])

    report = log.verify(receipts=receipts)

    assert report.findings == []
    assert (report.records, report.tree_size) == (_RECORDS, _RECORDS)
    assert report.outside_checkpoints == report.seals == len(log.log.seals) > _RECORDS // 5000
    assert report.receipts == len(receipts)
    assert report.unsealed == _UNSEALED
    # They were recorded minutes ago, and no sealer came.
    assert report.verdict is Verdict.INCOMPLETE
    assert "not sealed" in report.incomplete[0]


# One bit, in each column


_MIDDLE = -1
_IN_NO_TILE = _RECORDS - 40


@pytest.mark.parametrize("index", [0, _MIDDLE, _RECORDS // 2, _IN_NO_TILE])
@pytest.mark.parametrize("bit", [0, 5])
def test_a_bit_of_a_record(log: SealedLog, index: int, bit: int) -> None:
    index = log.middle if index == _MIDDLE else index
    record = log.log.rows[index].record
    place = record.index("identity") + 14 + bit
    log.write_record(index, record[:place] + chr(ord(record[place]) ^ 1) + record[place + 1 :])

    _assert_found(log.verify(), index)


def test_every_byte_of_a_record(log: SealedLog) -> None:
    """Of records that are in full tiles: a hundred of them, each in another byte."""
    rows = log.log.rows
    for offset in range(100):
        record = rows[1000 + offset].record
        place = offset * 5 % len(record)
        changed = chr(ord(record[place]) ^ 1) if record[place] != "\x7f" else "~"
        log.write_record(1000 + offset, record[:place] + changed + record[place + 1 :])

    report = log.verify()

    assert {found.index for found in report.findings} == set(range(1000, 1100))


def test_a_microsecond_of_recorded_at(log: SealedLog) -> None:
    log.execute(
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at + interval '1 microsecond'"
        " WHERE writer_id = %s AND sequence = %s",
        *log.where(log.middle),
    )

    _assert_found(log.verify(), log.middle, "recorded_at")


def test_a_microsecond_of_recorded_at_where_no_tile_is_full(log: SealedLog) -> None:
    log.execute(
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at + interval '1 microsecond'"
        " WHERE writer_id = %s AND sequence = %s",
        *log.where(_IN_NO_TILE),
    )

    report = log.verify()

    # Nothing but the root of its seal knows of it.
    _assert_found(report, log.first_of_seal(_IN_NO_TILE))
    assert report.findings[0].last >= _IN_NO_TILE


def test_a_bit_of_month(log: SealedLog) -> None:
    log.execute(
        "UPDATE decrypt_audit_log SET month = month + 1 WHERE writer_id = %s AND sequence = %s",
        *log.where(log.middle),
    )

    _assert_found(log.verify(), log.middle, "month")


def test_a_bit_of_writer_id(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    log.execute(
        "UPDATE decrypt_audit_log SET writer_id = %s WHERE writer_id = %s AND sequence = %s",
        f"{int(writer_id, 16) ^ 1:032x}",
        writer_id,
        sequence,
    )

    _assert_found(log.verify(), log.middle, "missing")


def test_a_bit_of_sequence(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    log.execute(
        "UPDATE decrypt_audit_log SET sequence = %s WHERE writer_id = %s AND sequence = %s",
        sequence ^ 1 << 40,
        writer_id,
        sequence,
    )

    _assert_found(log.verify(), log.middle, "missing")


@pytest.mark.parametrize(
    "change",
    [
        "root = set_bit(root, 17, 1 - get_bit(root, 17))",
        "writer_ids[1] = %s",
        "first_sequences[1] = first_sequences[1] + 1",
        "last_sequences[1] = last_sequences[1] + 1",
        "first_sequences = first_sequences[2:]",
        "checkpoint = overlay(checkpoint PLACING 'q' FROM 1)",
        "checkpoint = overlay(checkpoint PLACING '9' FROM position(E'\\n' IN checkpoint) + 1)",
        "checkpoint = overlay(checkpoint PLACING 'x' FROM length(checkpoint) - 20)",
        "checkpoint = checkpoint || E'\\n'",
        "signing_key = 'v2'",
        "sealed_at = sealed_at + interval '3 days'",
        "first_index = first_index + 1",
        "first_index = first_index - 1",
    ],
)
def test_a_column_of_a_seal(log: SealedLog, change: str) -> None:
    log.execute("ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_first_index_key")
    parameters = [f"{1:032x}"] if "%s" in change else []
    log.execute(
        f"UPDATE audit_seals SET {change} WHERE tree_size = %s", *parameters, log.seal.tree_size
    )

    report = log.verify()

    first = log.seal.first_index
    assert report.verdict is Verdict.TAMPERED
    # Where a seal says that it begins one leaf earlier, or takes in the record after, that is where it is wrong.
    assert first - 1 <= (report.first_bad_index or 0) <= log.seal.tree_size


def test_the_size_of_a_seal(log: SealedLog) -> None:
    log.execute(
        "UPDATE audit_seals SET tree_size = tree_size + 1 WHERE tree_size = %s", log.seal.tree_size
    )

    _assert_found(log.verify(), log.seal.first_index)


def test_the_last_bit_of_a_signature(log: SealedLog) -> None:
    """Base64 has digits whose last bits count for nothing: another spelling of the same bytes is no less a change."""
    note = log.seal.checkpoint
    spelled = note.rstrip("=\n")
    other = spelled[:-1] + chr(ord(spelled[-1]) + 1) + note[len(spelled) :]
    log.execute(
        "UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", other, log.seal.tree_size
    )

    _assert_found(log.verify(), log.seal.first_index)


@pytest.mark.parametrize(("level", "tile", "byte"), [(0, 3, 0), (0, 3, 8191), (0, 100, 4000)])
def test_a_bit_of_a_tile(log: SealedLog, level: int, tile: int, byte: int) -> None:
    log.execute(
        "UPDATE audit_tiles SET hashes = set_byte(hashes, %s, get_byte(hashes, %s) # 1) WHERE level = %s AND tile = %s",
        byte,
        byte,
        level,
        tile,
    )

    _assert_found(log.verify(), tile * 256 + byte // 32, "is not what the records give")


@pytest.mark.parametrize("column", ["level", "tile"])
def test_the_place_of_a_tile(log: SealedLog, column: str) -> None:
    log.execute(f"UPDATE audit_tiles SET {column} = {column} + 4096 WHERE level = 0 AND tile = 3")

    _assert_found(log.verify(), 3 * 256, "missing", "larger tree")


@pytest.mark.parametrize(
    "change",
    [
        "writer_id = %s",
        "sealed_sequence = sealed_sequence # 1",
        "sealed_hash = set_bit(sealed_hash, 17, 1 - get_bit(sealed_hash, 17))",
        "ended = NOT ended",
    ],
)
def test_the_notebook_of_the_sealer(log: SealedLog, change: str) -> None:
    parameters = [f"{1:032x}"] if "%s" in change else []
    log.execute(
        f"UPDATE audit_chains SET {change} WHERE writer_id = %s",
        *parameters,
        log.where(log.middle)[0],
    )

    _assert_found(log.verify(), _RECORDS, "audit_chains")


# Taken away


@pytest.mark.parametrize("index", [0, _MIDDLE, _RECORDS - 1])
def test_one_record_taken_away(log: SealedLog, index: int) -> None:
    index = log.middle if index == _MIDDLE else index
    assert (
        log.execute(
            "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
            *log.where(index),
        )
        == 1
    )

    _assert_found(log.verify(), index, "missing")


def test_a_batch_taken_away(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    gone = [
        n for n in log.indexes_of(writer_id) if sequence <= log.log.rows[n].sequence < sequence + 64
    ]
    log.execute(
        "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence >= %s AND sequence < %s + 64",
        writer_id,
        sequence,
        sequence,
    )

    report = log.verify()

    _assert_found(report, min(gone), "missing")
    assert {n for found in report.findings for n in range(found.index, found.last + 1)} == set(gone)


def test_a_writer_taken_away(log: SealedLog) -> None:
    writer_id, _ = log.where(log.middle)
    log.execute("DELETE FROM decrypt_audit_log WHERE writer_id = %s", writer_id)

    _assert_found(log.verify(), log.indexes_of(writer_id)[0], "missing")


def test_a_partition_taken_away(log: SealedLog) -> None:
    name = f"decrypt_audit_log_{log.log.rows[-1].recorded_at:%Y_%m}"
    log.database.execute(SQL("DROP TABLE {}").format(Identifier(name)))

    of_month = [
        place for place, row in enumerate(log.log.rows) if row.month == log.log.rows[-1].month
    ]
    _assert_found(log.verify(), of_month[0], "missing")


def test_a_partition_detached_changed_and_attached(log: SealedLog) -> None:
    month = log.log.rows[log.middle].month
    name = Identifier(f"decrypt_audit_log_{month[:7].replace('-', '_')}")
    log.database.execute(SQL("ALTER TABLE decrypt_audit_log DETACH PARTITION {}").format(name))
    log.database.execute(
        SQL(
            "UPDATE {} SET record = replace(record, 'settlement', 'chargeback')"
            " WHERE writer_id = %s AND sequence = %s"
        ).format(name),
        log.where(log.middle),
    )
    following = date.fromisoformat(month) + timedelta(days=31)
    log.database.execute(
        SQL(
            "ALTER TABLE decrypt_audit_log ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
        ).format(name, month, f"{following:%Y-%m}-01")
    )

    _assert_found(log.verify(), log.middle, "not what was sealed")


def test_a_seal_taken_away(log: SealedLog) -> None:
    log.execute("DELETE FROM audit_seals WHERE tree_size = %s", log.seal.tree_size)

    _assert_found(log.verify(), log.seal.first_index, "no seal covers")


def test_the_end_taken_away_and_the_service_started_anew(log: SealedLog) -> None:
    """The database is consistent: nothing in it says that there was more. The checkpoints outside do."""
    cut = log.log.seals[-6].tree_size
    _cut_off(log, cut)

    report = log.verify()

    _assert_found(report, cut, "its end was cut off")
    assert log.verify(outside=[]).findings == []


def test_an_older_state_that_went_on(log: SealedLog) -> None:
    """Restored to what it was, and continued with other records, sealed with the right key."""
    cut = log.log.seals[-6].tree_size
    _cut_off(log, cut)
    month = log.log.rows[-1].recorded_at
    # It reaches beyond the next checkpoint that was kept outside.
    other = made_log(2 * _OF_A_SEAL, month, unsealed=0, seed=2)
    rows = log.log.rows[:cut] + other.rows
    moved = [
        replace(seal, first_index=seal.first_index + cut, tree_size=seal.tree_size + cut)
        for seal in other.seals
    ]
    kept = [seal for seal in log.log.seals if seal.tree_size <= cut]
    forged = MadeLog(rows, kept + moved).sealed_again()
    for row in other.rows:
        log.put(row)
    log.execute("TRUNCATE audit_seals, audit_tiles, audit_chains")
    insert_seals(log.database, forged)

    report = log.verify()

    _assert_found(report, cut, "another root")
    assert log.verify(outside=[]).findings == []


def _cut_off(log: SealedLog, cut: int) -> None:
    for row in log.log.rows[cut:]:
        log.execute(
            "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
            row.writer_id,
            row.sequence,
        )
    shorter = MadeLog(
        log.log.rows[:cut], [seal for seal in log.log.seals if seal.tree_size <= cut]
    ).sealed_again()
    log.execute("TRUNCATE audit_seals, audit_tiles, audit_chains")
    insert_seals(log.database, shorter)


def test_what_was_not_sealed_yet_taken_away(log: SealedLog) -> None:
    hidden = log.log.rows[_RECORDS:]
    for row in hidden:
        log.execute(
            "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
            row.writer_id,
            row.sequence,
        )

    assert log.verify().verdict is Verdict.VERIFIED
    _assert_found(log.verify(receipts=(hidden[-1].receipt,)), _RECORDS, "hidden")


def test_one_of_those_not_sealed_yet_taken_away(log: SealedLog) -> None:
    writer_id = log.log.rows[-1].writer_id
    row = next(row for row in log.log.rows[_RECORDS:] if row.writer_id == writer_id)
    log.execute(
        "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
        row.writer_id,
        row.sequence,
    )

    _assert_found(log.verify(), _RECORDS, "taken away")


# Put in


def test_a_backdated_record_of_a_new_writer(log: SealedLog) -> None:
    old = log.log.rows[log.middle]
    members = json.loads(log.log.rows[0].record) | {
        "writer_id": "f" * 32,
        "event_time": f"{old.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    early = old.recorded_at - timedelta(hours=2)
    members["event_time"] = f"{early:%Y-%m-%dT%H:%M:%S.%fZ}"
    log.put(MadeRow("f" * 32, 0, early, canonical(members)))

    _assert_found(log.verify(), _RECORDS, "it was put in")


def test_a_record_after_the_end_of_its_writer(log: SealedLog) -> None:
    ended, sequence = next(chain[:2] for chain in log.log.chains if chain[3])
    last = next(row for row in log.log.rows if (row.writer_id, row.sequence) == (ended, sequence))
    members = json.loads(last.record) | {"sequence": sequence + 1, "previous": last.record_hash}
    log.put(replace(last, sequence=sequence + 1, record=canonical(members)))

    _assert_found(log.verify(), _RECORDS, "log_closed")


def test_a_record_twice(log: SealedLog) -> None:
    """The primary key has the month in it, so another partition takes it."""
    row = log.log.rows[log.middle]
    following = date.fromisoformat(row.month) + timedelta(days=31)
    log.put(row, month=f"{following:%Y-%m}-01")

    _assert_found(log.verify(), log.middle, "more than once")


def test_two_records_swapped(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    indexes = log.indexes_of(writer_id)
    one = indexes[sequence]
    two = indexes[sequence + 5]
    rows = log.log.rows
    log.write_record(one, rows[two].record)
    log.write_record(two, rows[one].record)

    report = log.verify()

    _assert_found(report, one, "its sequence is not that of its row")
    assert two in {found.index for found in report.findings}


def test_a_batch_in_another_order(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    log.execute(
        "UPDATE decrypt_audit_log SET sequence = -sequence WHERE writer_id = %s AND sequence BETWEEN %s AND %s + 7",
        writer_id,
        sequence,
        sequence,
    )
    log.execute(
        "UPDATE decrypt_audit_log SET sequence = 2 * %s + 7 + sequence WHERE writer_id = %s AND sequence < 0",
        sequence,
        writer_id,
    )

    _assert_found(log.verify(), log.middle)


# Made anew


def _changed(log: SealedLog, index: int) -> MadeLog:
    rows = log.log.rows.copy()
    rows[index] = replace(rows[index], record=rows[index].record.replace("settle", "nobody"))
    return replace(log.log, rows=rows)


def _a_release(log: SealedLog, near: int) -> int:
    return next(
        place for place in range(near, len(log.log.rows)) if "settle" in log.log.rows[place].record
    )


def test_the_chain_made_anew_and_not_the_tiles(log: SealedLog) -> None:
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index)
    for place in range(index, len(forged.rows)):
        if forged.rows[place].record != log.log.rows[place].record:
            log.write_record(place, forged.rows[place].record)

    _assert_found(log.verify(), index, "not what was sealed")


def test_chain_and_tiles_made_anew_and_no_signature(log: SealedLog) -> None:
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(key=None)
    log.write_again(forged, index)

    report = log.verify()

    # Records and tiles agree: only the root of the seal knows that one of its records is another.
    _assert_found(report, log.first_of_seal(index), "do not have the root that was signed")
    assert report.findings[0].last >= index


def test_everything_made_anew_with_another_key(log: SealedLog) -> None:
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(OTHER_KEY)
    log.write_again(forged, index)

    _assert_found(log.verify(), 0, "no trusted key signed it")


def test_everything_made_anew_with_the_stolen_key(log: SealedLog) -> None:
    """Nothing within the database tells. The first checkpoint outside that covers the record does."""
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(KEY)
    log.write_again(forged, index)

    report = log.verify()

    _assert_found(report, log.first_of_seal(index), "another root")
    assert report.findings[0].last >= index
    assert log.verify(outside=[]).findings == []


def test_a_fork_by_two_sealers(log: SealedLog) -> None:
    log.execute("ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_first_index_key")
    log.execute(
        "INSERT INTO audit_seals SELECT tree_size - 1, first_index, root, sealed_at, writer_ids, first_sequences,"
        " array_append(trim_array(last_sequences, 1), last_sequences[cardinality(last_sequences)] - 1), %s, signing_key"
        " FROM audit_seals WHERE tree_size = %s",
        checkpoint(log.seal.tree_size - 1, b"\1" * 32),
        log.seal.tree_size,
    )

    _assert_found(log.verify(), log.seal.first_index, "forked")


def test_an_old_checkpoint_again(log: SealedLog) -> None:
    old = log.log.seals[3].checkpoint
    log.execute("UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", old, _RECORDS)

    _assert_found(log.verify(), log.log.seals[-1].first_index, "the checkpoint of another one")


def test_an_old_checkpoint_again_in_the_file(log: SealedLog) -> None:
    notes = [
        *log.log.checkpoints(),
        *(log.log.seals[3].checkpoint + "\n").splitlines(keepends=True),
    ]

    _assert_found(log.verify(outside=notes), log.log.seals[3].tree_size, "goes back")


def test_another_origin(log: SealedLog) -> None:
    """Signed with the right key, in the name of another log."""
    seal = log.seal
    other = checkpoint(seal.tree_size, seal.root, origin="payment-token/other/decrypt-audit")
    log.execute(
        "UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", other, log.seal.tree_size
    )

    _assert_found(log.verify(), log.seal.first_index, "no trusted key")
