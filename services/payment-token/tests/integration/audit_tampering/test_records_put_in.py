"""Records are put in, doubled, moved. As the tests beside it."""

import json
from dataclasses import replace
from datetime import date, timedelta

from tests.support.made_logs import (
    MadeRow,
    canonical,
)
from tests.support.tampered_log import RECORDS, SealedLog, assert_found


def test_a_backdated_record_of_a_new_writer(log: SealedLog) -> None:
    old = log.log.rows[log.middle]
    members = json.loads(log.log.rows[0].record) | {
        "writer_id": "f" * 32,
        "event_time": f"{old.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    early = old.recorded_at - timedelta(hours=2)
    members["event_time"] = f"{early:%Y-%m-%dT%H:%M:%S.%fZ}"
    log.put(MadeRow("f" * 32, 0, early, canonical(members)))

    assert_found(log.verify(), RECORDS, "it was put in")


def test_a_record_after_the_end_of_its_writer(log: SealedLog) -> None:
    ended, sequence = next(chain[:2] for chain in log.log.chains if chain[3])
    last = next(row for row in log.log.rows if (row.writer_id, row.sequence) == (ended, sequence))
    members = json.loads(last.record) | {"sequence": sequence + 1, "previous": last.record_hash}
    log.put(replace(last, sequence=sequence + 1, record=canonical(members)))

    assert_found(log.verify(), RECORDS, "log_closed")


def test_a_record_twice(log: SealedLog) -> None:
    """The primary key has the month in it, so another partition takes it."""
    row = log.log.rows[log.middle]
    following = date.fromisoformat(row.month) + timedelta(days=31)
    log.put(row, month=f"{following:%Y-%m}-01")

    assert_found(log.verify(), log.middle, "more than once")


def test_two_records_swapped(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    indexes = log.indexes_of(writer_id)
    one = indexes[sequence]
    two = indexes[sequence + 5]
    rows = log.log.rows
    log.write_record(one, rows[two].record)
    log.write_record(two, rows[one].record)

    report = log.verify()

    assert_found(report, one, "its sequence is not that of its row")
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

    assert_found(log.verify(), log.middle)
