"""A sealed log that anything may be done to, as superuser, and what the verifier says of it."""

from dataclasses import dataclass

import psycopg

from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.signed_note import VerifierKey
from payment_token.audit_verifier.verify_log import VerifyLog
from payment_token.infrastructure.database.audit_source import DatabaseLog
from tests.support.long_form import usual_or_long
from tests.support.made_logs import (
    MadeLog,
    MadeRow,
    MadeSeal,
    insert_seals,
    vkey,
)

RECORDS = usual_or_long(50_000, 1_000_000)
UNSEALED = 30
OF_A_SEAL = usual_or_long(250, 4096)
MIDDLE = -1
"""The place of a record that is somewhere in the middle, before the log is there."""
IN_NO_TILE = RECORDS - 40
EVERYTHING = "decrypt_audit_log, audit_seals, audit_tiles, audit_chains, encryption_keys"


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


def middle_of(log: MadeLog) -> int:
    """A release about a third into the tree, with records of its writer beside it, and a hundred after it."""
    last = {row.writer_id: row.sequence for row in log.rows[:RECORDS]}
    return next(
        place
        for place in range(RECORDS // 3, RECORDS)
        if "settle" in log.rows[place].record
        and log.rows[place].sequence + 100 < last[log.rows[place].writer_id]
        and len({row.writer_id for row in log.rows[place - 1 : place + 2]}) == 1
    )


def assert_found(report: Report, index: int, *words: str) -> None:
    assert report.verdict is Verdict.TAMPERED
    assert report.first_bad_index == index, report.findings[:5]
    said = " ".join(found.what for found in report.findings)
    for word in words:
        assert word in said, said
