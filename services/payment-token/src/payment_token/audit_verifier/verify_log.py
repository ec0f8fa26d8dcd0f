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

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from payment_token.audit_verifier.absent_records import AbsentRecords
from payment_token.audit_verifier.chains import Period
from payment_token.audit_verifier.checkpoint import Opened, TrustedKeys
from payment_token.audit_verifier.kept_tiles import KeptTiles
from payment_token.audit_verifier.outside import OutsideCheckpoints, sizes_within
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.records_in_order import Part, batches, parts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import DamagedLogError, LiveLog, Seal, SealedLog
from payment_token.audit_verifier.signed_note import NoteError
from payment_token.audit_verifier.tile_hashes import LackingError, TileHashes
from payment_token.audit_verifier.tree import GrowingTree, Tile
from payment_token.audit_verifier.unsealed import Unsealed
from payment_token.audit_verifier.writers import Broken, OfSeal, Writers, altered

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
        self._signing_keys = live.signing_keys() if live is not None else {}
        self._size = log.size()
        self._tree = GrowingTree()
        self._end = 0
        self._tree_is_known = True
        self._sealed_at: datetime | None = None
        self._writers = Writers(report, self._receipts, whole=True)
        self._tiles = KeptTiles(log, report, self._size)
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

    def _report_damages(self) -> None:
        for damage in self._log.damaged:
            self._report.add(damage.index, damage.what, damage.last)

    def _check_all_seals(self) -> None:
        with ThreadPoolExecutor(1, "reading") as reading:
            for read in _one_ahead(
                self._read(seals, reading) for seals in batches(self._log.seals(self._end))
            ):
                self._check_seals(read)
                self._tiles.check()
                self._progress(self._end)

    def _begin_at(self, size: int) -> None:
        self._writers = Writers(self._report, self._receipts, whole=False)
        self._report.first_checked = self._end = size
        seal = next(iter(self._log.seals(size - 1)), None)
        if seal is None or seal.tree_size != size:
            self._report.add(size, f"there is no seal of size {size}")
            self._tree_is_known = False
            return
        self._sealed_at = seal.sealed_at
        opened = self._opened(seal)
        try:
            self._tree = GrowingTree.of_size(size, TileHashes(self._log, self._size).at)
        except LackingError as error:
            self._report.add(
                0, f"the tree cannot be put together from its tiles: {error}", size - 1
            )
            self._tree_is_known = False
            return
        if opened is not None and opened.checkpoint.root != self._tree.root():
            self._report.add(0, "the tiles do not have the root that was signed", size - 1)
            self._tree_is_known = False
            return
        for place in self._outside:
            place.compare(place.due(size), {size: self._tree.root()})

    def _read(self, seals: Sequence[Seal], reading: Executor) -> "_Reading":
        soundness = [self._is_sound(seal) for seal in seals]
        sound = [seal for seal, is_sound in zip(seals, soundness, strict=True) if is_sound]
        return _Reading(seals, soundness, parts(self._log, sound, reading))

    def _check_seals(self, read: "_Reading") -> None:
        of_runs = read.of_runs
        for seal, is_sound in zip(read.seals, read.soundness, strict=True):
            if seal.first_index < self._end:
                self._report.add(
                    seal.first_index,
                    f"two seals cover the leaves from {seal.first_index} on: the log was forked",
                    self._end - 1,
                )
                if is_sound:
                    _skip(of_runs, seal)
                continue
            # 1.
            if seal.first_index > self._end:
                self._bridge(seal.first_index)
            # 2.
            opened = self._opened(seal)
            # 3.
            of_seal = OfSeal()
            if is_sound:
                self._follow(seal, of_runs, of_seal)
            else:
                self._writers.lose_sight()
                of_seal.leaves = [None] * (seal.tree_size - seal.first_index)
            # 4. to 6.
            self._settle(seal, opened, of_seal)
            self._report.seals += 1
            self._end, self._sealed_at = seal.tree_size, seal.sealed_at

    def _is_sound(self, seal: Seal) -> bool:
        count = sum(map(len, seal.runs))
        forwards = all(0 <= run.first <= run.last for run in seal.runs)
        if forwards and 0 < count == seal.tree_size - seal.first_index:
            return True
        self._report.add(
            seal.first_index,
            f"the seal of size {seal.tree_size} says {count} records by its runs, and"
            f" {seal.tree_size - seal.first_index} by its sizes",
            seal.tree_size - 1,
        )
        return False

    def _bridge(self, first_index: int) -> None:
        self._report.add(
            self._end,
            f"no seal covers the leaves from {self._end} to {first_index - 1}",
            first_index - 1,
        )
        self._writers.lose_sight()
        kept = self._tiles.leaves(self._end, first_index)
        if kept is None or not self._tree_is_known:
            self._tree_is_known = False
        else:
            self._tiles.add(self._tree.append(kept))
            self._report.by_tiles_alone += len(kept)
        self._end = first_index

    def _opened(self, seal: Seal) -> Opened | None:
        where = f"the seal of size {seal.tree_size}"
        if seal.note is None:
            self._report.incomplete.append(f"{where} has no checkpoint here")
            return None
        try:
            opened = self._keys.open(seal.note)
        except NoteError as error:
            self._report.add(seal.first_index, f"{where}: {error}", seal.tree_size - 1)
            return None
        checkpoint = opened.checkpoint
        if checkpoint.size != seal.tree_size:
            self._report.add(
                seal.first_index,
                f"{where} has the checkpoint of another one, of size {checkpoint.size}",
                seal.tree_size - 1,
            )
            return None
        if seal.root is not None and checkpoint.root != seal.root:
            self._report.add(
                seal.first_index,
                f"{where} says another root than its checkpoint",
                seal.tree_size - 1,
            )
        if seal.signing_key is not None and self._signing_keys.get(seal.signing_key) != (
            opened.key.public_key
        ):
            self._report.add(
                seal.first_index,
                f"{where} names the signing key {seal.signing_key}, and another one signed it",
                seal.tree_size - 1,
            )
        return opened

    def _follow(self, seal: Seal, of_runs: Iterator[Part], of_seal: OfSeal) -> None:
        period = Period.of(self._sealed_at, seal.sealed_at)
        while len(of_seal.leaves) < seal.tree_size - seal.first_index:
            self._writers.follow(next(of_runs), period, of_seal)
        self._absent.add(of_seal.missing, self._sealed_at, seal.sealed_at)

    def _settle(self, seal: Seal, opened: Opened | None, of_seal: OfSeal) -> None:
        due = [(place, place.due(seal.tree_size)) for place in self._outside]
        expected = opened.checkpoint.root if opened is not None else seal.root
        grown = self._grown(seal, of_seal, expected) if self._tree_is_known else None
        if grown is None:
            if self._tree_is_known:
                self._lose_tree(seal, of_seal)
            else:
                self._report_broken(of_seal.broken)
            return
        inner = sizes_within(
            seal.first_index, seal.tree_size, (kept for _, of_place in due for kept in of_place)
        )
        roots = {seal.tree_size: grown.tree.root()}
        for size in inner:
            before = self._tree.copy()
            before.append(grown.leaves[: size - seal.first_index])
            roots[size] = before.root()
        self._tree = grown.tree
        self._tiles.add(grown.tiles)
        for place, of_place in due:
            place.compare(of_place, roots)

    def _grown(self, seal: Seal, of_seal: OfSeal, expected: bytes | None) -> "_Grown | None":
        """By the leaves of the records, else those of the tiles: whichever have the root that was signed."""
        leaves = [leaf for leaf in of_seal.leaves if leaf is not None]
        if len(leaves) == len(of_seal.leaves):
            grown = self._grown_by(leaves)
            if expected is None or grown.tree.root() == expected:
                self._report_broken(of_seal.broken)
                return grown
        kept = self._tiles.leaves(seal.first_index, seal.tree_size)
        if kept is None:
            return None
        grown = self._grown_by(kept)
        if expected is not None and grown.tree.root() != expected:
            return None
        self._report.by_tiles_alone += of_seal.leaves.count(None)
        self._report_differences(seal.first_index, of_seal, kept)
        return grown

    def _grown_by(self, leaves: Sequence[bytes]) -> "_Grown":
        tree = self._tree.copy()
        return _Grown(tree, leaves, tree.append(leaves))

    def _report_differences(self, first_index: int, of_seal: OfSeal, kept: Sequence[bytes]) -> None:
        differing = [
            first_index + offset
            for offset, (leaf, other) in enumerate(zip(of_seal.leaves, kept, strict=True))
            if leaf is not None and leaf != other
        ]
        for index in differing:
            self._report.add(index, "the record, or its recorded_at, is not what was sealed")
        self._report_broken(of_seal.broken, {*differing})
        self._writers.forget_hashes(differing)

    def _report_broken(
        self, broken: Sequence[Broken], changed: Collection[int] = frozenset()
    ) -> None:
        """A record after one that was changed is not at fault."""
        for link in broken:
            if link.before not in changed:
                self._report.add(link.index, link.what)

    def _lose_tree(self, seal: Seal, of_seal: OfSeal) -> None:
        """It cannot be followed any further. The one finding for it is as narrow as the records allow."""
        self._tree_is_known = False
        self._report.incomplete.append(
            f"from leaf {seal.first_index} on the tree cannot be followed, and no root was compared"
        )
        if None in of_seal.leaves:
            # Why is said elsewhere: records were taken away, or this archive lacks them.
            self._report_broken(of_seal.broken)
            return
        changed = altered(of_seal.broken, seal.first_index)
        for index in changed:
            self._report.add(index, "the record is not what was sealed")
        if not changed and not of_seal.suspects:
            self._report.add(
                seal.first_index,
                f"the leaves {seal.first_index} to {seal.tree_size - 1} do not have the root that was signed: at least one"
                " record, or its recorded_at, is not what was sealed",
                seal.tree_size - 1,
            )

    def _check_end(self, start: Start) -> None:
        report = self._report
        if self._log.keeps_partial_tiles and self._tree_is_known:
            self._tiles.add(self._tree.partial_tiles())
        self._tiles.check()
        report.writers = len(self._writers)
        report.tree_size = self._end
        report.root = self._tree.root() if self._tree_is_known else None
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


@dataclass(frozen=True, slots=True)
class _Reading:
    """Seals, whether each can be followed, and the records of those that can."""

    seals: Sequence[Seal]
    soundness: Sequence[bool]
    of_runs: Iterator[Part]


def _one_ahead(readings: Iterator[_Reading]) -> Iterator[_Reading]:
    """Each is begun before the one before it is looked at."""
    before = next(readings, None)
    while before is not None:
        damage = following = None
        try:
            following = next(readings, None)
        except DamagedLogError as error:
            damage = error
        yield before
        if damage is not None:
            raise damage
        before = following


@dataclass(frozen=True, slots=True)
class _Grown:
    """The tree after a seal."""

    tree: GrowingTree
    leaves: Sequence[bytes]
    tiles: Sequence[Tile]


def _skip(of_runs: Iterator[Part], seal: Seal) -> None:
    count = 0
    while count < seal.tree_size - seal.first_index:
        count += len(next(of_runs).run)
