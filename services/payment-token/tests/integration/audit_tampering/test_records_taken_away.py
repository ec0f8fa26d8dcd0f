"""Records, seals, partitions and the end of the log are taken away. As the tests beside it."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from psycopg.sql import SQL, Identifier

from payment_token.audit_verifier.report import Verdict
from tests.support.made_logs import (
    MadeLog,
    insert_seals,
    made_log,
)
from tests.support.tampered_log import MIDDLE, OF_A_SEAL, RECORDS, SealedLog, assert_found


@pytest.mark.parametrize("index", [0, MIDDLE, RECORDS - 1])
def test_one_record_taken_away(log: SealedLog, index: int) -> None:
    index = log.middle if index == MIDDLE else index
    assert (
        log.execute(
            "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
            *log.where(index),
        )
        == 1
    )

    assert_found(log.verify(), index, "missing")


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

    assert_found(report, min(gone), "missing")
    assert {n for found in report.findings for n in range(found.index, found.last + 1)} == set(gone)


def test_a_writer_taken_away(log: SealedLog) -> None:
    writer_id, _ = log.where(log.middle)
    log.execute("DELETE FROM decrypt_audit_log WHERE writer_id = %s", writer_id)

    assert_found(log.verify(), log.indexes_of(writer_id)[0], "missing")


def test_a_partition_taken_away(log: SealedLog) -> None:
    name = f"decrypt_audit_log_{log.log.rows[-1].recorded_at:%Y_%m}"
    log.database.execute(SQL("DROP TABLE {}").format(Identifier(name)))

    of_month = [
        place for place, row in enumerate(log.log.rows) if row.month == log.log.rows[-1].month
    ]
    assert_found(log.verify(), of_month[0], "missing")


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

    assert_found(log.verify(), log.middle, "not what was sealed")


def test_a_seal_taken_away(log: SealedLog) -> None:
    log.execute("DELETE FROM audit_seals WHERE tree_size = %s", log.seal.tree_size)

    assert_found(log.verify(), log.seal.first_index, "no seal covers")


def test_the_end_taken_away_and_the_service_started_anew(log: SealedLog) -> None:
    """The database is consistent: nothing in it says that there was more. The checkpoints outside do."""
    cut = log.log.seals[-6].tree_size
    _cut_off(log, cut)

    report = log.verify()

    assert_found(report, cut, "its end was cut off")
    assert log.verify(outside=[]).findings == []


def test_an_older_state_that_went_on(log: SealedLog) -> None:
    """Restored to what it was, and continued with other records, sealed with the right key."""
    cut = log.log.seals[-6].tree_size
    _cut_off(log, cut)
    month = log.log.rows[-1].recorded_at
    # It reaches beyond the next checkpoint that was kept outside.
    other = made_log(2 * OF_A_SEAL, month, unsealed=0, seed=2)
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

    assert_found(report, cut, "another root")
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
    hidden = log.log.rows[RECORDS:]
    for row in hidden:
        log.execute(
            "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
            row.writer_id,
            row.sequence,
        )

    assert log.verify().verdict is Verdict.VERIFIED
    assert_found(log.verify(receipts=(hidden[-1].receipt,)), RECORDS, "hidden")


def test_one_of_those_not_sealed_yet_taken_away(log: SealedLog) -> None:
    writer_id = log.log.rows[-1].writer_id
    row = next(row for row in log.log.rows[RECORDS:] if row.writer_id == writer_id)
    log.execute(
        "DELETE FROM decrypt_audit_log WHERE writer_id = %s AND sequence = %s",
        row.writer_id,
        row.sequence,
    )

    assert_found(log.verify(), RECORDS, "taken away")
