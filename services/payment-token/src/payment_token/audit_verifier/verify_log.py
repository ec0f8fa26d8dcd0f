"""The verification of a log, read once from its beginning to its end.

Of each seal, in order:

1. it goes on where the one before it ended, and its runs are as many records as it says
2. its checkpoint is signed by a trusted key, of this log, and says the same as its row
3. its records are there, once; each follows the one before of its writer
4. the tree over all leaves so far has the root that was signed; if not, the tiles show which leaf is another one
5. the checkpoints of this size that were kept outside have the same root
6. the tiles that became full are those that are kept

At the end: the right edge, what no seal covers, checkpoints beyond the end, receipts that no record answers to.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from payment_token.audit_verifier.absent_records import AbsentRecords
from payment_token.audit_verifier.chains import Period
from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.followed_tree import FollowedTree
from payment_token.audit_verifier.outside import OutsideCheckpoints
from payment_token.audit_verifier.reading_ahead import Reading, one_ahead
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.records_in_order import Part, batches, parts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.seal_checks import SealChecks
from payment_token.audit_verifier.sealed_log import DamagedLogError, LiveLog, Seal, SealedLog
from payment_token.audit_verifier.unsealed import Unsealed
from payment_token.audit_verifier.writers import OfSeal, Writers

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a verification of the latest part begins: at the seal of this size, which was made before ``since``."""

    size: int
    since: datetime | None = None


class VerifyLog:
    """``live`` is the same log if it is a database. Outside checkpoints share the report."""

    def __init__(
        self,
        log: SealedLog,
        keys: TrustedKeys,
        report: Report,
        *,
        live: LiveLog | None = None,
        outside: Sequence[OutsideCheckpoints] = (),
        receipts: Receipts | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        self._log = log
        self._live = live
        self._keys = keys
        self._report = report
        self._outside = outside
        self._receipts = receipts or Receipts()
        self._progress = progress
        self._seals = SealChecks(keys, live.signing_keys() if live is not None else {}, report)
        self._size = log.size()
        self._end = 0
        self._sealed_at: datetime | None = None
        self._writers = Writers(report, self._receipts, whole=True)
        self._tree = self._new_tree()
        self._absent = AbsentRecords()

    def __call__(self, start: Start | None = None) -> Report:
        start = start or Start(0)
        if start.size:
            self._begin_at(start.size)
        try:
            self._check_all_seals()
        except DamagedLogError as damage:
            # What would be at the end is not known, nor what answers to receipts.
            self._report.add(self._end, str(damage))
            self._report_damages()
            return self._report
        self._check_end(start)
        return self._report

    def _new_tree(self) -> FollowedTree:
        return FollowedTree(self._log, self._report, self._size, self._writers, self._outside)

    def _report_damages(self) -> None:
        for damage in self._log.damaged:
            self._report.add(damage.index, damage.what, damage.last)

    def _check_all_seals(self) -> None:
        with ThreadPoolExecutor(1, "reading") as reading:
            for read in one_ahead(
                self._read(seals, reading) for seals in batches(self._log.seals(self._end))
            ):
                self._check_seals(read)
                self._tree.check_tiles()
                self._progress(self._end)

    def _begin_at(self, size: int) -> None:
        self._writers = Writers(self._report, self._receipts, whole=False)
        self._tree = self._new_tree()
        self._report.first_checked = self._end = size
        seal = next(iter(self._log.seals(size - 1)), None)
        if seal is None or seal.tree_size != size:
            self._report.add(size, f"there is no seal of size {size}")
            self._tree.begin_at(size, None, None)
            return
        self._sealed_at = seal.sealed_at
        self._tree.begin_at(size, seal, self._seals.opened(seal))

    def _read(self, seals: Sequence[Seal], reading: Executor) -> Reading:
        soundness = [self._seals.is_sound(seal) for seal in seals]
        sound = [seal for seal, is_sound in zip(seals, soundness, strict=True) if is_sound]
        return Reading(seals, soundness, parts(self._log, sound, reading))

    def _check_seals(self, read: Reading) -> None:
        for seal, is_sound in zip(read.seals, read.soundness, strict=True):
            if seal.first_index < self._end:
                self._report.add(
                    seal.first_index,
                    f"two seals cover the leaves from {seal.first_index} on: the log was forked",
                    self._end - 1,
                )
                if is_sound:
                    read.skip(seal)
                continue
            # 1.
            if seal.first_index > self._end:
                self._bridge(seal.first_index)
            # 2.
            opened = self._seals.opened(seal)
            # 3.
            of_seal = OfSeal()
            if is_sound:
                self._follow(seal, read.of_runs, of_seal)
            else:
                self._writers.lose_sight()
                of_seal.leaves = [None] * (seal.tree_size - seal.first_index)
            # 4. to 6.
            self._tree.settle(seal, opened, of_seal)
            self._report.seals += 1
            self._end, self._sealed_at = seal.tree_size, seal.sealed_at

    def _bridge(self, first_index: int) -> None:
        self._report.add(
            self._end,
            f"no seal covers the leaves from {self._end} to {first_index - 1}",
            first_index - 1,
        )
        self._writers.lose_sight()
        self._tree.bridge(self._end, first_index)
        self._end = first_index

    def _follow(self, seal: Seal, of_runs: Iterator[Part], of_seal: OfSeal) -> None:
        period = Period.of(self._sealed_at, seal.sealed_at)
        while len(of_seal.leaves) < seal.tree_size - seal.first_index:
            self._writers.follow(next(of_runs), period, of_seal)
        self._absent.add(of_seal.missing, self._sealed_at, seal.sealed_at)

    def _check_end(self, start: Start) -> None:
        report = self._report
        report.root = self._tree.end()
        report.writers = len(self._writers)
        report.tree_size = self._end
        self._check_absent()
        if self._live is not None:
            unsealed = Unsealed(self._live, self._writers, report, self._receipts, self._end)
            unsealed.check(self._sealed_at, start.since)
        self._check_outside()
        if self._keys.witnesses and not report.witnessed:
            report.incomplete.append("no checkpoint was found that a trusted witness has signed")
        self._check_receipts(start)
        report.incomplete += self._log.lacking
        self._report_damages()

    def _check_outside(self) -> None:
        for place in self._outside:
            place.end(self._end)
        recoveries = self._writers.recoveries
        given_up = max((place.given_up(recoveries) for place in self._outside), default=0)
        for place in self._outside:
            place.report_branches(self._end, given_up)

    def _check_absent(self) -> None:
        detached = self._writers.detached_months
        for absent in self._absent.taken_away(detached):
            what = "the record is" if absent.count == 1 else f"{absent.count:,} records are"
            self._report.add(absent.first, f"{what} missing", absent.last)
        gone = self._absent.detached(detached)
        if gone:
            self._report.remarks.append(
                f"{gone:,} records have left the database with their months, as the log says; their leaves were checked,"
                " the archive has the records"
            )

    def _check_receipts(self, start: Start) -> None:
        for receipt in self._receipts.remaining():
            if start.size or self._report.by_tiles_alone:
                self._report.incomplete.append(
                    f"no record that was read answers to the receipt {receipt}: it may be an older one"
                )
            else:
                self._report.add(
                    self._end, f"no record answers to the receipt {receipt}: it was hidden"
                )
