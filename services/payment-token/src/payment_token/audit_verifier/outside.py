"""Checkpoints that were kept outside of the log: each must be the root that the log had at that size.

Whoever owns the database and even the signing key can make a log that is consistent in itself. It does not have the roots
that others have kept.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from payment_token.audit_verifier.checkpoint import Checkpoint, TrustedKeys
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.signed_note import NoteError, SignedNote


@dataclass(slots=True)
class Branch:
    """Checkpoints, one after the other, that the log did not lead to. It agreed with the one before them."""

    agreed: Checkpoint
    first: Checkpoint
    last: Checkpoint
    largest: int


class OutsideCheckpoints:
    """Of one place, in the order in which they were published. ``start`` is the size at which the verification begins.

    ``goes_on``: the log is a copy of some time ago, and the place has heard of the original since. Whether the end of such
    a copy was cut off cannot be told from there.
    """

    def __init__(
        self,
        place: str,
        checkpoints: Iterable[Checkpoint],
        report: Report,
        start: int = 0,
        *,
        goes_on: bool = False,
    ) -> None:
        self._place = place
        self._report = report
        self._start = start
        self._goes_on = goes_on
        self._agreed = Checkpoint("", start, b"")
        self._waiting: Checkpoint | None = None
        self._checkpoints = iter(checkpoints)
        self._branch: Branch | None = None
        self._branches: list[Branch] = []
        self._own_roots: dict[int, bytes] = {}

    def due(self, size: int) -> list[Checkpoint]:
        """The next ones, up to a tree of this size."""
        due: list[Checkpoint] = []
        while (checkpoint := self._peek()) is not None and checkpoint.size <= size:
            due.append(checkpoint)
            self._waiting = None
        return due

    def compare(self, due: Iterable[Checkpoint], roots: Mapping[int, bytes]) -> None:
        """With the roots of the log at these sizes, the last of which is that of a seal."""
        # What was published after a recovery is smaller than what was before, and stands behind it.
        if self._peek() is not None:
            self._own_roots.update(roots)
        for kept in due:
            root = roots.get(kept.size, self._own_roots.get(kept.size))
            if root is None:
                self._go_back(kept)
            else:
                self._compare(kept, root)

    def end(self, size: int) -> None:
        """Whatever is left is compared with a log of this size."""
        while (kept := self._peek()) is not None:
            self._waiting = None
            root = self._own_roots.get(kept.size)
            if kept.size > size or root is not None:
                self._compare(kept, root)
            else:
                self._go_back(kept)
        self._end_branch()

    def given_up(self, recoveries: Collection[tuple[int, str]]) -> int:
        """The largest size that was published here and that the log says it has abandoned, by its root; 0 if there is none."""
        ends = [branch.last for branch in self._branches]
        return max(
            (end.size for end in ends if (end.size, end.root.hex()) in recoveries), default=0
        )

    def report_branches(self, size: int, given_up: int) -> None:
        """``given_up`` is that of all places: each goes at its own pace, and the log names the newest checkpoint of all."""
        for branch in self._branches:
            if branch.largest <= given_up:
                self._report.remarks.append(
                    f"The log was set back to size {branch.agreed.size:,} or more, from size {given_up:,}, and says so"
                    " (log_recovered): whoever runs it must be able to explain it."
                )
            else:
                self._report_branch(branch, size)

    def _compare(self, kept: Checkpoint, root: bytes | None) -> None:
        self._report.outside_checkpoints += 1
        if kept.root == root:
            self._end_branch()
            self._agreed = kept
            self._own_roots = {
                size: own for size, own in self._own_roots.items() if size > kept.size
            }
        elif self._branch is None:
            self._branch = Branch(self._agreed, kept, kept, kept.size)
        else:
            self._branch.last = kept
            self._branch.largest = max(self._branch.largest, kept.size)

    def _go_back(self, kept: Checkpoint) -> None:
        """One of a size that the log had before. The same one again is what a publisher does that was interrupted."""
        again = (kept.size, kept.root) == (self._agreed.size, self._agreed.root)
        if kept.size < self._start or again:
            return
        self._report.add(
            kept.size,
            f"{self._place} goes back to size {kept.size}, after size {self._agreed.size}",
            self._agreed.size,
        )

    def _end_branch(self) -> None:
        if self._branch is not None:
            self._branches.append(self._branch)
            self._branch = None

    def _report_branch(self, branch: Branch, size: int) -> None:
        if branch.first.size > size and self._goes_on:
            self._report.incomplete.append(
                f"the log has {size} leaves here, and {self._place} has a checkpoint of {branch.largest}: it was exported"
                " before that, or its end was cut off"
            )
            return
        if branch.first.size > size:
            self._report.add(
                size,
                f"the log has {size} leaves, and {self._place} has a checkpoint of {branch.largest}: its end was cut off, or"
                " the database is of an earlier time",
                branch.largest - 1,
            )
            return
        self._report.add(
            branch.agreed.size,
            f"the log is not the one that was published: {self._place} has another root at size {branch.first.size},"
            f" and agrees up to size {branch.agreed.size}",
            branch.first.size - 1,
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
    for note in notes:
        try:
            opened = keys.open(note)
            report.witnessed += keys.witnessed(note)
        except NoteError as error:
            if _is_note(note):
                report.add(size, f"a checkpoint of {place} after size {size}: {error}")
            else:
                report.remarks.append(
                    f"{place} has half a checkpoint after size {size}: its write was interrupted, or goes on."
                )
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
