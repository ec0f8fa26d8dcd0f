"""The writers of a log, followed through the runs of its seals; and what is wrong with their records."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from payment_token.audit_verifier.chains import FIRST_PREVIOUS, Period, Said, Writer, follow
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.record import EVENT_OF_DETACHING
from payment_token.audit_verifier.records_in_order import Part
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import Row, Run

_MONTH = len("2026-11")


@dataclass(slots=True)
class Broken:
    """A record, at ``index``, that does not hold the hash of the one before it of its writer, at ``before``."""

    before: int
    index: int
    what: str


def altered(broken: Sequence[Broken], first_index: int) -> list[int]:
    """Which records of a seal were changed, as far as the chains tell; the seal begins at ``first_index``.

    A record that was changed is not what the next one holds the hash of. If it was changed in that very hash, it does not
    hold that of the one before it either.
    """
    with_next = {link.before for link in broken}
    return [
        link.index if link.index in with_next or link.before < first_index else link.before
        for link in broken
    ]


@dataclass(slots=True)
class OfSeal:
    """What the records of one seal gave. ``leaves`` has ``None`` for a record that is not there."""

    leaves: list[bytes | None] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)


class Writers:
    """``whole``: the log is followed from its first record on, so every writer must begin at its beginning."""

    def __init__(self, report: Report, receipts: Receipts, *, whole: bool) -> None:
        self._report = report
        self._receipts = receipts
        self._whole = whole
        self._known: dict[str, Writer] = {}
        self.detached_months: set[str] = set()
        self.recoveries: set[tuple[int, str]] = set()

    @property
    def whole(self) -> bool:
        return self._whole

    def __len__(self) -> int:
        return len(self._known)

    def items(self) -> Iterator[tuple[str, Writer]]:
        return iter(self._known.items())

    def get(self, writer_id: str) -> Writer | None:
        return self._known.get(writer_id)

    def lose_sight(self) -> None:
        """Seals are missing: nobody knows how far each writer came in them."""
        self._known.clear()
        self._whole = False

    def forget_hashes(self, indexes: Collection[int]) -> None:
        """Of records that are not what was sealed: the ones after them hold the hashes of what was."""
        for writer in self._known.values():
            if writer.index in indexes:
                writer.previous = None

    def follow(self, part: Part, period: Period, of_seal: OfSeal) -> None:
        writer = self._writer_at(part.run, part.index, of_seal)
        if part.is_whole:
            self._go_on(writer, part.run.first, part.rows, part.index, period, of_seal)
            return
        for first, rows in self._segments(part, of_seal):
            index = part.index + first - part.run.first
            if rows:
                self._go_on(writer, first, rows, index, period, of_seal)
            else:
                of_seal.leaves.append(None)
                # Whatever it was, the next record cannot be held against it.
                writer.next_sequence, writer.previous = first + 1, None

    def _writer_at(self, run: Run, index: int, of_seal: OfSeal) -> Writer:
        writer = self._known.get(run.writer_id)
        if writer is None:
            writer = Writer(run.writer_id.encode())
            if run.first > 0:
                writer.previous = None
                if self._whole:
                    self._wrong(of_seal, index, "no seal has the first records of its writer")
            self._known[run.writer_id] = writer
        elif writer.next_sequence != run.first:
            self._wrong(
                of_seal,
                index,
                f"the seals of its writer go from sequence {writer.next_sequence - 1} to {run.first}",
            )
            writer.previous = FIRST_PREVIOUS if run.first == 0 else None
        return writer

    def _segments(self, part: Part, of_seal: OfSeal) -> Iterator[tuple[int, list[Row]]]:
        """Records that follow each other, and between them, with no rows, those that are not there."""
        by_sequence: dict[int, list[Row]] = {}
        for row in part.rows:
            by_sequence.setdefault(row[1], []).append(row)
        segment: list[Row] = []
        for sequence in range(part.run.first, part.run.last + 1):
            index = part.index + sequence - part.run.first
            rows = by_sequence.get(sequence, [])
            if len(rows) > 1:
                self._wrong(of_seal, index, "the record is there more than once")
            if rows and rows[0][2] is not None:
                segment.append(rows[0])
                continue
            if not rows:
                of_seal.missing.append(index)
            if segment:
                yield sequence - len(segment), segment
                segment = []
            yield sequence, []
        if segment:
            yield part.run.last + 1 - len(segment), segment

    def _go_on(
        self,
        writer: Writer,
        first: int,
        rows: Sequence[Row],
        index: int,
        period: Period,
        of_seal: OfSeal,
    ) -> None:
        before = writer.index
        entries = [row[2] or b"" for row in rows]
        followed = follow(writer, first, entries, [row[3] for row in rows], period)
        of_seal.leaves += followed.leaves
        for said in followed.said:
            self._note(said)
        for fault in followed.faults:
            place = index + fault.offset
            if fault.unlinked:
                previous = place - 1 if fault.offset else before
                of_seal.broken.append(Broken(previous, place, fault.what))
            else:
                self._wrong(of_seal, place, fault.what)
        writer.index = index + len(rows) - 1
        self._report.records += len(rows)
        self._check_receipts(writer, first, followed.hashes, index)

    def _note(self, said: Said) -> None:
        if said.event == EVENT_OF_DETACHING:
            self.detached_months.add(str(said.details.get("month", ""))[:_MONTH])
        else:
            size = str(said.details.get("abandoned_tree_size", ""))
            if size.isdecimal():
                self.recoveries.add((int(size), str(said.details.get("abandoned_root"))))

    def _check_receipts(
        self, writer: Writer, first: int, hashes: Sequence[bytes], index: int
    ) -> None:
        agreeing, differing = self._receipts.found(writer.writer_id.decode(), first, hashes)
        self._report.receipts += agreeing
        for receipt in differing:
            place = index + receipt.sequence - first
            self._report.add(place, f"the record is not the one of the receipt {receipt}")

    def _wrong(self, of_seal: OfSeal, index: int, what: str) -> None:
        of_seal.suspects.append(index)
        self._report.add(index, what)
