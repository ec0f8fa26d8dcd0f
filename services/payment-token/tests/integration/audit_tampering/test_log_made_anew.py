"""The log is made anew, from a record on or as a whole, with and without the key. As the tests beside it."""

from dataclasses import replace

from tests.support.made_logs import (
    KEY,
    OTHER_KEY,
    MadeLog,
    checkpoint,
)
from tests.support.tampered_log import RECORDS, SealedLog, assert_found


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

    assert_found(log.verify(), index, "not what was sealed")


def test_chain_and_tiles_made_anew_and_no_signature(log: SealedLog) -> None:
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(key=None)
    log.write_again(forged, index)

    report = log.verify()

    # Records and tiles agree: only the root of the seal knows that one of its records is another.
    assert_found(report, log.first_of_seal(index), "do not have the root that was signed")
    assert report.findings[0].last >= index


def test_everything_made_anew_with_another_key(log: SealedLog) -> None:
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(OTHER_KEY)
    log.write_again(forged, index)

    assert_found(log.verify(), 0, "no trusted key signed it")


def test_everything_made_anew_with_the_stolen_key(log: SealedLog) -> None:
    """Nothing within the database tells. The first checkpoint outside that covers the record does."""
    index = _a_release(log, log.middle)
    forged = _changed(log, index).chained_again(index).sealed_again(KEY)
    log.write_again(forged, index)

    report = log.verify()

    assert_found(report, log.first_of_seal(index), "another root")
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

    assert_found(log.verify(), log.seal.first_index, "forked")


def test_an_old_checkpoint_again(log: SealedLog) -> None:
    old = log.log.seals[3].checkpoint
    log.execute("UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", old, RECORDS)

    assert_found(log.verify(), log.log.seals[-1].first_index, "the checkpoint of another one")


def test_an_old_checkpoint_again_in_the_file(log: SealedLog) -> None:
    notes = [
        *log.log.checkpoints(),
        *(log.log.seals[3].checkpoint + "\n").splitlines(keepends=True),
    ]

    assert_found(log.verify(outside=notes), log.log.seals[3].tree_size, "goes back")


def test_another_origin(log: SealedLog) -> None:
    """Signed with the right key, in the name of another log."""
    seal = log.seal
    other = checkpoint(seal.tree_size, seal.root, origin="payment-token/other/decrypt-audit")
    log.execute(
        "UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", other, log.seal.tree_size
    )

    assert_found(log.verify(), log.seal.first_index, "no trusted key")
