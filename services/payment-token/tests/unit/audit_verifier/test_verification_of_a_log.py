"""Every check by itself, on small logs in memory. What the owner of a database can do is in audit_tampering."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.audit_verifier.report import MOST_FINDINGS, Report, Verdict
from payment_token.audit_verifier.verify_log import Start
from tests.support.listed_logs import ListedLog, verified
from tests.support.made_logs import (
    OTHER_KEY,
    Levels,
    MadeLog,
    MadeRow,
    canonical,
    chains_of,
    checkpoint,
    made_log,
    spelled,
    vkey,
)

_BEGIN = datetime(2026, 10, 31, 23, 59, 55, tzinfo=UTC)
_LOG = made_log(1500, _BEGIN, of_a_seal=90, unsealed=7)
_SIZE = 1500


@pytest.fixture
def log() -> MadeLog:
    return _LOG.copy()


def _change(log: MadeLog, index: int, **members: object) -> None:
    """A record with other members, in a log that is then sealed as it is: only the check itself can find it."""
    changed = json.loads(log.rows[index].record) | members
    log.rows[index] = replace(log.rows[index], record=canonical(changed))


def _found(report: Report, *words: str) -> int | None:
    assert report.verdict is Verdict.TAMPERED
    said = " ".join(found.what for found in report.findings)
    for word in words:
        assert word in said, said
    return report.first_bad_index


def test_nothing_is_wrong(log: MadeLog) -> None:
    receipts = [row.receipt for row in log.rows[:_SIZE:100]]

    report = verified(log, outside=log, receipts=receipts)

    assert report.verdict is Verdict.VERIFIED
    assert (report.records, report.tree_size, report.unsealed) == (_SIZE, _SIZE, 7)
    assert (report.seals, report.outside_checkpoints) == (17, 17)
    assert (report.tiles, report.receipts) == (5, 15)
    assert report.root == log.seals[-1].root
    assert report.remarks == []


def test_an_empty_log() -> None:
    log = MadeLog(rows=_LOG.rows[:1])
    log.rows = [replace(log.rows[0])]

    report = verified(log)

    assert (report.tree_size, report.unsealed) == (0, 1)
    assert report.verdict is Verdict.VERIFIED


# The chain: sealed as it is by whoever holds the key, so that nothing else is wrong.


def _row_of(log: MadeLog, sequence: int) -> int:
    return next(place for place, row in enumerate(log.rows) if row.sequence == sequence)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"previous": "0" * 64}, "the hash of the record before it"),
        ({"sequence": 99}, "its sequence is not that of its row"),
        ({"writer_id": "0" * 32}, "its writer_id is not that of its row"),
        ({"event": "log_opened"}, "begins with log_opened"),
        ({"event_time": spelled(_BEGIN + timedelta(minutes=5))}, "more than 2 seconds apart"),
        ({"event_time": "2026-13-24T20:54:14.123456Z"}, "its time is not one"),
        ({"event_time": "soon"}, "cannot be read: event_time"),
    ],
)
def test_a_record_that_was_sealed_and_is_wrong(
    log: MadeLog, members: dict[str, object], words: str
) -> None:
    index = _row_of(log, 200)
    _change(log, index, **members)
    forged = log.chained_again(index + 1).sealed_again()

    assert _found(verified(forged), words) == index


def test_two_seconds_between_event_and_row_are_let_pass(log: MadeLog) -> None:
    index = _row_of(log, 200)
    recorded = log.rows[index].recorded_at
    _change(log, index, event_time=spelled(recorded - timedelta(seconds=2)))
    forged = log.chained_again(index).sealed_again()
    assert verified(forged).verdict is Verdict.VERIFIED

    _change(forged, index, event_time=spelled(recorded - timedelta(seconds=2, microseconds=1)))
    assert _found(verified(forged.chained_again(index).sealed_again()), "2 seconds") == index


def test_a_writer_that_begins_otherwise(log: MadeLog) -> None:
    _change(log, 0, event="decrypt")

    assert _found(verified(log.chained_again(1).sealed_again()), "begins with log_opened") == 0


def test_a_record_after_the_end_of_its_writer(log: MadeLog) -> None:
    index = _row_of(log, 200)
    _change(log, index, event="log_closed")
    following = next(
        place
        for place in range(index + 1, _SIZE)
        if log.rows[place].writer_id == log.rows[index].writer_id
    )

    forged = log.chained_again(index).sealed_again()
    assert _found(verified(forged), "after log_closed") == following


def test_runs_that_leave_a_sequence_out(log: MadeLog) -> None:
    """A seal whose writer has gone on further than its runs say."""
    index = _row_of(log, 200)
    writer_id = log.rows[index].writer_id
    del log.rows[index]
    seals = []
    for seal in log.seals:
        runs, tree_size, first = [], seal.tree_size, seal.first_index
        for writer, low, high in seal.runs:
            if writer == writer_id and low <= 200 <= high:
                runs += [(writer, low, 199), (writer, 201, high)]
            else:
                runs.append((writer, low, high))
        seals.append(
            replace(
                seal,
                first_index=first - (first > index),
                tree_size=tree_size - (tree_size > index),
                runs=[run for run in runs if run[1] <= run[2]],
            )
        )
    log.seals = seals

    assert _found(verified(log.sealed_again()), "go from sequence 199 to 201") == index


def test_a_record_recorded_long_before_its_seal(log: MadeLog) -> None:
    index = _row_of(log, 200)
    early = log.rows[index].recorded_at - timedelta(hours=2)
    log.rows[index] = replace(log.rows[index], recorded_at=early)
    _change(log, index, event_time=spelled(early))

    forged = log.chained_again(index).sealed_again()
    assert _found(verified(forged), "in the hour of its seal") == index


def test_the_month_beside_a_record(log: MadeLog) -> None:
    assert _found(verified(ListedLog(log, {700: "2026-12-01"})), "its month") == 700


# Rows and seals


def test_a_record_that_is_gone_where_no_tile_is_full(log: MadeLog) -> None:
    del log.rows[_SIZE - 3]

    report = verified(log)

    assert _found(report, "missing") == _SIZE - 3
    assert "cannot be followed" in report.incomplete[0]


def test_which_of_two_records_was_changed_where_no_tile_is_full(log: MadeLog) -> None:
    """The next record tells: it holds the hash of the one that was sealed."""
    index = next(
        place
        for place in range(1400, 1490)
        if [row.writer_id for row in log.rows[place - 1 : place + 3]]
        == [log.rows[place].writer_id] * 4
    )
    content = log.copy()
    _change(content, index, identity="nobody")
    link = log.copy()
    _change(link, index, previous="0" * 64)

    for changed in (content, link):
        report = verified(changed)
        assert _found(report, "the record is not what was sealed") == index


def test_months_that_have_left_the_database(log: MadeLog) -> None:
    """As the log itself says; their leaves are in the tiles."""
    october = [place for place, row in enumerate(log.rows) if row.month == "2026-10-01"]
    closing = _row_of(log, 250)
    _change(log, closing, event="month_detached", details={"month": "2026-10"})
    forged = log.chained_again(closing).sealed_again()
    forged.rows = [row for row in forged.rows if row.month != "2026-10-01"]

    report = verified(forged)

    assert report.verdict is Verdict.VERIFIED
    assert report.by_tiles_alone == len(october) > 200
    assert "left the database" in report.remarks[0]


def test_months_that_nobody_said_would_leave(log: MadeLog) -> None:
    log.rows = [row for row in log.rows if row.month != "2026-10-01"]

    assert _found(verified(log), "records are missing") == 0


def test_a_seal_with_another_number_of_records(log: MadeLog) -> None:
    seal = log.seals[4]
    log.seals[4] = replace(seal, runs=seal.runs[1:])

    assert _found(verified(log), "by its runs") == seal.first_index


def test_a_checkpoint_of_a_key_that_is_not_trusted(log: MadeLog) -> None:
    seal = log.seals[4]
    log.seals[4] = replace(seal, checkpoint=checkpoint(seal.tree_size, seal.root, OTHER_KEY))

    assert _found(verified(log), "no trusted key") == seal.first_index
    both = (vkey(), vkey(OTHER_KEY))
    # Now the key is trusted, and it is still not the one that the seal names.
    assert _found(verified(log, keys=both), "names the signing key v1") == seal.first_index


def test_what_is_found_is_counted_and_not_all_of_it_kept(log: MadeLog) -> None:
    for index in range(300, 900):
        _change(log, index, identity="nobody")

    report = verified(log)

    assert report.first_bad_index == 300
    assert len(report.findings) == MOST_FINDINGS < report.findings_in_all


# Outside


@pytest.mark.parametrize("sizes", [(90,), (90, 100, 101, 1499), (1500,)])
def test_checkpoints_outside_of_any_size(log: MadeLog, sizes: tuple[int, ...]) -> None:
    levels = Levels(log.leaves)
    notes = "".join(f"{checkpoint(size, levels.root(size))}\n" for size in sizes)

    report = verified(log, outside=notes.splitlines(keepends=True))

    assert report.verdict is Verdict.VERIFIED
    assert report.outside_checkpoints == len(sizes)


def test_a_checkpoint_outside_with_another_root(log: MadeLog) -> None:
    good = f"{log.seals[3].checkpoint}\n"
    bad = f"{checkpoint(500, bytes(32))}\n"

    report = verified(log, outside=(good + bad).splitlines(keepends=True))

    assert _found(report, "has another root at size 500") == log.seals[3].tree_size
    assert report.findings[0].last == 499


def test_a_checkpoint_outside_that_nobody_signed(log: MadeLog) -> None:
    notes = f"{log.seals[3].checkpoint}\n{checkpoint(500, bytes(32), OTHER_KEY)}\n"

    assert _found(verified(log, outside=notes.splitlines(keepends=True)), "no trusted key") == 360


def test_a_write_outside_that_was_interrupted(log: MadeLog) -> None:
    for length in (5, 40, 60, 140):
        notes = f"{log.seals[3].checkpoint}\n{log.seals[4].checkpoint[:length]}"
        report = verified(log, outside=notes.splitlines(keepends=True))
        assert report.verdict is Verdict.VERIFIED
        assert "half a checkpoint" in report.remarks[0]


def test_a_write_that_was_interrupted_and_others_that_followed(log: MadeLog) -> None:
    """Where a file is append-only for its writer too, half a checkpoint stays in it."""
    notes = (
        f"{log.seals[3].checkpoint}\n{log.seals[4].checkpoint[:140]}\n\n{log.seals[5].checkpoint}\n"
    )

    report = verified(log, outside=notes.splitlines(keepends=True))

    assert (report.verdict, report.outside_checkpoints) == (Verdict.VERIFIED, 2)


@pytest.mark.parametrize("grows_beyond", [False, True])
@pytest.mark.parametrize("on_record", [False, True])
def test_a_log_that_was_set_back(log: MadeLog, *, grows_beyond: bool, on_record: bool) -> None:
    """Restored at 900 when 1260 had been published; it went on, and the same file has what was published since."""
    published = [seal for seal in log.seals if seal.tree_size <= 1260]
    restored = log.copy()
    if on_record:
        abandoned = {"abandoned_tree_size": 1260, "abandoned_root": published[-1].root.hex()}
        _change(restored, 950, event="log_recovered", details=abandoned)
    else:
        _change(restored, 950, identity="operator:restored")
    restored = restored.chained_again(950).sealed_again()
    if not grows_beyond:
        restored.seals = [seal for seal in restored.seals if seal.tree_size <= 1170]
        restored.rows = restored.rows[:1170]
        restored = restored.sealed_again()
    since = [seal for seal in restored.seals if seal.tree_size > 900]
    notes = "".join(f"{seal.checkpoint}\n" for seal in (*published, *since))

    report = verified(restored, outside=notes.splitlines(keepends=True))

    if on_record:
        assert report.verdict is Verdict.VERIFIED, report.findings
        assert "set back" in report.remarks[0]
    else:
        assert _found(report, "has another root at size 990") == 900


def test_a_recovery_excuses_no_more_than_it_names(log: MadeLog) -> None:
    """Whoever writes that the log was set back, of a size that nobody has published, has not explained anything."""
    abandoned = {"abandoned_tree_size": 10**9, "abandoned_root": "0" * 64}
    published = [seal for seal in log.seals if seal.tree_size <= 1260]
    _change(log, 950, event="log_recovered", details=abandoned)
    restored = log.chained_again(950).sealed_again()
    notes = "".join(f"{seal.checkpoint}\n" for seal in published)

    report = verified(restored, outside=notes.splitlines(keepends=True))

    assert _found(report, "has another root at size 990") == 900


def test_the_same_checkpoint_outside_once_more(log: MadeLog) -> None:
    notes = f"{log.seals[3].checkpoint}\n" * 2

    assert verified(log, outside=notes.splitlines(keepends=True)).verdict is Verdict.VERIFIED


# Receipts, and what is not sealed


def test_a_receipt_of_another_record(log: MadeLog) -> None:
    row = log.rows[600]
    receipt = f"ar2.{row.writer_id}.{row.sequence}.{'0' * 64}"

    assert _found(verified(log, receipts=[receipt]), "not the one of the receipt") == 600


def test_a_receipt_of_what_is_not_sealed_yet(log: MadeLog) -> None:
    report = verified(log, receipts=[log.rows[-1].receipt])

    assert report.verdict is Verdict.INCOMPLETE
    assert "not sealed yet" in report.incomplete[0]


def test_a_receipt_that_no_record_answers_to(log: MadeLog) -> None:
    receipt = f"ar2.{'0' * 32}.5.{'0' * 64}"

    assert _found(verified(log, receipts=[receipt]), "hidden") == _SIZE


Put = Callable[[MadeLog], MadeRow]


def _next_of_last(log: MadeLog, **members: object) -> MadeRow:
    last = log.rows[-1]
    record = json.loads(last.record) | {
        "sequence": last.sequence + 1,
        "previous": last.record_hash,
        **members,
    }
    return replace(last, sequence=last.sequence + 1, record=canonical(record))


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (lambda log: _next_of_last(log, previous="0" * 64), "the hash of the record before it"),
        (lambda log: replace(_next_of_last(log), sequence=-1), "below 0"),
        (lambda log: replace(_next_of_last(log), sequence=9999), "not the one before it"),
        (lambda log: log.rows[-1], "more than once"),
        (lambda log: replace(_next_of_last(log), writer_id="0" * 32), "not the one before it"),
    ],
)
def test_a_row_that_was_put_in(log: MadeLog, put: Put, words: str) -> None:
    log.rows.append(put(log))

    assert _found(verified(log), words) == _SIZE


def test_rows_that_follow_honestly(log: MadeLog) -> None:
    log.rows.append(_next_of_last(log))

    report = verified(log)

    assert (report.verdict, report.unsealed) == (Verdict.VERIFIED, 8)


# From the middle on


@pytest.mark.parametrize("number", [0, 5, 13, 16])
def test_the_latest_part_alone(log: MadeLog, number: int) -> None:
    seal = log.seals[number]
    start = Start(seal.tree_size, seal.sealed_at)

    report = verified(log, outside=log, start=start)

    assert report.verdict is Verdict.VERIFIED
    assert (report.first_checked, report.tree_size) == (seal.tree_size, _SIZE)
    assert report.records == _SIZE - seal.tree_size
    assert report.root == log.seals[-1].root


def test_the_latest_part_on_another_tree(log: MadeLog) -> None:
    log.tiles[0, 1] = bytes(8192)

    assert _found(verified(log, start=Start(630)), "do not have the root that was signed") == 0


def test_a_change_in_the_latest_part(log: MadeLog) -> None:
    _change(log, 1000, identity="nobody")

    assert _found(verified(log, start=Start(630)), "not what was sealed") == 1000
    assert verified(log, start=Start(1080)).verdict is Verdict.VERIFIED


def test_chains_are_those_of_the_sealer(log: MadeLog) -> None:
    assert log.chains == chains_of(log.rows[:_SIZE])
