"""Checkpoints that were kept outside of the log: each must be the root that the log had at that size.

Whoever owns the database and even the signing key can make a log that is consistent in itself. It does not have the roots
that others have kept.
"""

from collections.abc import Iterable, Iterator, Sequence

from payment_token.audit_verifier.checkpoint import Checkpoint, TrustedKeys
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.signed_note import NoteError, SignedNote


class OutsideCheckpoints:
    """Of one place, in the order in which they were published. ``start`` is the size at which the verification begins."""

    def __init__(
        self, place: str, checkpoints: Iterable[Checkpoint], report: Report, start: int = 0
    ) -> None:
        self._place = place
        self._report = report
        self._start = start
        self._agreed = Checkpoint("", start, b"")
        self._waiting: Checkpoint | None = None
        self._checkpoints = iter(checkpoints)

    def due(self, size: int) -> list[Checkpoint]:
        """The next ones, up to a tree of this size."""
        due: list[Checkpoint] = []
        while (checkpoint := self._peek()) is not None and checkpoint.size <= size:
            due.append(checkpoint)
            self._waiting = None
        return due

    def compare(self, kept: Checkpoint, root: bytes) -> None:
        """With the root that the log has at that size."""
        self._report.outside_checkpoints += 1
        if kept.root == root:
            self._agreed = kept
            return
        self._report.add(
            self._agreed.size,
            f"the log is not the one that was published: {self._place} has another root at size {kept.size},"
            f" and agrees up to size {self._agreed.size}",
            kept.size - 1,
        )

    def go_back(self, kept: Checkpoint) -> None:
        """One of a size that the log had before. The same one again is what a publisher does that was interrupted."""
        if kept.size < self._start or (kept.size, kept.root) == (
            self._agreed.size,
            self._agreed.root,
        ):
            return
        self._report.add(
            kept.size,
            f"{self._place} goes back to size {kept.size}, after size {self._agreed.size}",
            self._agreed.size,
        )

    def check_end(self, size: int) -> None:
        beyond = self._peek()
        if beyond is None:
            return
        largest = max(beyond.size, *(kept.size for kept in self._checkpoints), beyond.size)
        self._report.add(
            size,
            f"the log has {size} leaves, and {self._place} has a checkpoint of {largest}: its end was cut off, or the"
            " database is of an earlier time",
            largest - 1,
        )

    def _peek(self) -> Checkpoint | None:
        if self._waiting is None:
            self._waiting = next(self._checkpoints, None)
        return self._waiting


def opened_checkpoints(
    place: str, notes: Iterable[str], keys: TrustedKeys, report: Report
) -> Iterator[Checkpoint]:
    """Those that a trusted key signed; of others it is reported after which size they stand."""
    size = 0
    for note, is_last in _with_last(iter(notes)):
        try:
            opened = keys.open(note)
        except NoteError as error:
            if is_last and not _is_note(note):
                report.remarks.append(
                    f"{place} ends within a checkpoint: one was just being written, or a write was interrupted"
                )
            else:
                report.add(size, f"a checkpoint of {place} after size {size}: {error}")
        else:
            size = opened.checkpoint.size
            yield opened.checkpoint


def sizes_within(first: int, end: int, due: Iterable[Checkpoint]) -> Sequence[int]:
    return sorted({kept.size for kept in due if first < kept.size < end})


def _is_note(note: str) -> bool:
    try:
        SignedNote.parse(note)
    except NoteError:
        return False
    return True


def _with_last(notes: Iterator[str]) -> Iterator[tuple[str, bool]]:
    before = next(notes, None)
    for note in notes:
        if before is not None:
            yield before, False
        before = note
    if before is not None:
        yield before, True
