"""What the database has and no seal covers: the last second of an honest log, or what somebody put in.

Whoever owns the database may add rows, and take away those that are not sealed yet. Added rows break a chain, or are older
than the sealer would take; of those taken away the workers have receipts.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from payment_token.audit_verifier import times
from payment_token.audit_verifier.chains import FIRST_PREVIOUS, Period, Writer, follow
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import LiveLog, UnsealedRow
from payment_token.audit_verifier.writers import Writers

SEALED_WITHIN = timedelta(seconds=5)

_ROWS_AT_ONCE = 1000


class Unsealed:
    """``size`` and ``sealed_at`` are of the last seal; ``since``, where a verification of the latest part begins."""

    def __init__(
        self, log: LiveLog, writers: Writers, report: Report, receipts: Receipts, size: int
    ) -> None:
        self._log = log
        self._writers = writers
        self._report = report
        self._receipts = receipts
        self._size = size
        self._oldest: bytes | None = None

    def check(self, sealed_at: datetime | None, since: datetime | None) -> None:
        # Before the rows that are not sealed move the writers on.
        self._check_notebook()
        now = self._log.now()
        period = _period(sealed_at, now)
        rows = self._log.rows_outside(self._last_sealed(since))
        for writer_id, of_writer in groupby(rows, key=lambda row: row[0]):
            self._check_writer(writer_id, of_writer, period)
        if self._oldest is not None:
            age = now - times.parsed(self._oldest)
            if age > SEALED_WITHIN:
                self._report.incomplete.append(
                    f"{self._report.unsealed} records are not sealed, the oldest for {age.total_seconds():,.0f} seconds:"
                    " does the sealer run?"
                )
        for place in self._log.tiles_beyond(self._size):
            self._report.add(
                self._size,
                f"tile {place.number} of level {place.level} is of a larger tree than was sealed",
            )

    def _last_sealed(self, since: datetime | None) -> dict[str, int]:
        """Of each writer that has other rows than its sealed ones."""
        with_more: dict[str, int] = {}
        for rows in self._log.writers(since):
            known = self._writers.get(rows.writer_id)
            if known is not None:
                last = known.next_sequence - 1
            elif self._writers.whole:
                last = -1
            else:
                last = self._log.last_sealed(rows.writer_id, self._size)
            if rows.first < 0 or rows.last > last:
                with_more[rows.writer_id] = last
        return with_more

    def _check_writer(self, writer_id: str, rows: Iterator[UnsealedRow], period: Period) -> None:
        writer = self._writers.get(writer_id) or Writer(writer_id.encode(), previous=None)
        for row in rows:
            if row.sequence < 0:
                self._report.add(self._size, f"{_name(row)}: a sequence below 0 was put in")
                continue
            if writer.previous is None and row.sequence == 0:
                writer.previous = FIRST_PREVIOUS
            elif writer.next_sequence > row.sequence:
                self._report.add(self._size, f"{_name(row)} is there more than once")
                continue
            elif writer.next_sequence < row.sequence:
                if self._writers.whole or writer.previous is not None:
                    self._report.add(
                        self._size,
                        f"{_name(row)} is there, and not the one before it: it was put in, or others were taken away",
                    )
                writer.previous = None
            self._check_row(writer, row, period)

    def _check_row(self, writer: Writer, row: UnsealedRow, period: Period) -> None:
        followed = follow(writer, row.sequence, [row.entry], [row.month], period)
        for fault in followed.faults:
            self._report.add(self._size, f"{_name(row)}, not sealed: {fault.what}")
        agreeing, differing = self._receipts.found(row.writer_id, row.sequence, followed.hashes)
        for receipt in differing:
            self._report.add(self._size, f"{_name(row)} is not the one of the receipt {receipt}")
        if agreeing:
            self._report.incomplete.append(
                f"a receipt is of {_name(row)}, which is not sealed yet: ask again in a few seconds"
            )
        self._report.unsealed += 1
        recorded = row.entry[-times.LENGTH :]
        if not followed.faults and (self._oldest is None or recorded < self._oldest):
            self._oldest = recorded

    def _check_notebook(self) -> None:
        """The sealer goes on from its notebook. It must say what the seals say."""
        for noted in self._log.noted_chains():
            writer = self._writers.get(noted.writer_id)
            if writer is None:
                said = noted.sealed_sequence if self._writers.whole else -1
                wrong = said >= 0
            else:
                sealed_hash = noted.sealed_hash.hex().encode()
                wrong = noted.sealed_sequence != writer.next_sequence - 1 or (
                    writer.previous is not None
                    and (sealed_hash, noted.ended) != (writer.previous, writer.ended)
                )
            if wrong:
                self._report.add(
                    self._size,
                    f"audit_chains does not say of writer {noted.writer_id} what the seals say",
                )


def _period(sealed_at: datetime | None, now: datetime) -> Period:
    limit = Period.of(sealed_at, now)
    return Period(
        limit.earliest,
        limit.latest,
        "it was recorded more than an hour before the last seal, which would have it: it was put in",
    )


def _name(row: UnsealedRow) -> str:
    return f"record {row.sequence} of writer {row.writer_id}"
