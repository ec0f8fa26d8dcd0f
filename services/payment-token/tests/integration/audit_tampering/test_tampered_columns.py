"""Whoever owns the database may do anything to the audit log. None of it passes unseen, and the first bad index is right.

As superuser, on a log of 50,000 records (1,000,000 in the long form) that the service's own sealer has sealed. Each case
changes it in a transaction that is rolled back; the verifier reads on the same connection.
"""

import pytest

from payment_token.audit_verifier.report import Verdict
from tests.support.tampered_log import (
    IN_NO_TILE,
    MIDDLE,
    RECORDS,
    UNSEALED,
    SealedLog,
    assert_found,
)


def test_an_honest_log_raises_no_alarm(log: SealedLog) -> None:
    receipts = tuple(row.receipt for row in log.log.rows[: RECORDS : RECORDS // 20])

    report = log.verify(receipts=receipts)

    assert report.findings == []
    assert (report.records, report.tree_size) == (RECORDS, RECORDS)
    assert report.outside_checkpoints == report.seals == len(log.log.seals) > RECORDS // 5000
    assert report.receipts == len(receipts)
    assert report.unsealed == UNSEALED
    # They were recorded minutes ago, and no sealer came.
    assert report.verdict is Verdict.INCOMPLETE
    assert "not sealed" in report.incomplete[0]


# One bit, in each column


@pytest.mark.parametrize("index", [0, MIDDLE, RECORDS // 2, IN_NO_TILE])
@pytest.mark.parametrize("bit", [0, 5])
def test_a_bit_of_a_record(log: SealedLog, index: int, bit: int) -> None:
    index = log.middle if index == MIDDLE else index
    record = log.log.rows[index].record
    place = record.index("identity") + 14 + bit
    log.write_record(index, record[:place] + chr(ord(record[place]) ^ 1) + record[place + 1 :])

    assert_found(log.verify(), index)


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

    assert_found(log.verify(), log.middle, "recorded_at")


def test_a_microsecond_of_recorded_at_where_no_tile_is_full(log: SealedLog) -> None:
    log.execute(
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at + interval '1 microsecond'"
        " WHERE writer_id = %s AND sequence = %s",
        *log.where(IN_NO_TILE),
    )

    report = log.verify()

    # Nothing but the root of its seal knows of it.
    assert_found(report, log.first_of_seal(IN_NO_TILE))
    assert report.findings[0].last >= IN_NO_TILE


def test_a_bit_of_month(log: SealedLog) -> None:
    log.execute(
        "UPDATE decrypt_audit_log SET month = month + 1 WHERE writer_id = %s AND sequence = %s",
        *log.where(log.middle),
    )

    assert_found(log.verify(), log.middle, "month")


def test_a_bit_of_writer_id(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    log.execute(
        "UPDATE decrypt_audit_log SET writer_id = %s WHERE writer_id = %s AND sequence = %s",
        f"{int(writer_id, 16) ^ 1:032x}",
        writer_id,
        sequence,
    )

    assert_found(log.verify(), log.middle, "missing")


def test_a_bit_of_sequence(log: SealedLog) -> None:
    writer_id, sequence = log.where(log.middle)
    log.execute(
        "UPDATE decrypt_audit_log SET sequence = %s WHERE writer_id = %s AND sequence = %s",
        sequence ^ 1 << 40,
        writer_id,
        sequence,
    )

    assert_found(log.verify(), log.middle, "missing")


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

    assert_found(log.verify(), log.seal.first_index)


def test_the_last_bit_of_a_signature(log: SealedLog) -> None:
    """Base64 has digits whose last bits count for nothing: another spelling of the same bytes is no less a change."""
    note = log.seal.checkpoint
    spelled = note.rstrip("=\n")
    other = spelled[:-1] + chr(ord(spelled[-1]) + 1) + note[len(spelled) :]
    log.execute(
        "UPDATE audit_seals SET checkpoint = %s WHERE tree_size = %s", other, log.seal.tree_size
    )

    assert_found(log.verify(), log.seal.first_index)


@pytest.mark.parametrize(("level", "tile", "byte"), [(0, 3, 0), (0, 3, 8191), (0, 100, 4000)])
def test_a_bit_of_a_tile(log: SealedLog, level: int, tile: int, byte: int) -> None:
    log.execute(
        "UPDATE audit_tiles SET hashes = set_byte(hashes, %s, get_byte(hashes, %s) # 1) WHERE level = %s AND tile = %s",
        byte,
        byte,
        level,
        tile,
    )

    assert_found(log.verify(), tile * 256 + byte // 32, "is not what the records give")


@pytest.mark.parametrize("column", ["level", "tile"])
def test_the_place_of_a_tile(log: SealedLog, column: str) -> None:
    log.execute(f"UPDATE audit_tiles SET {column} = {column} + 4096 WHERE level = 0 AND tile = 3")

    assert_found(log.verify(), 3 * 256, "missing", "larger tree")


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

    assert_found(log.verify(), RECORDS, "audit_chains")
