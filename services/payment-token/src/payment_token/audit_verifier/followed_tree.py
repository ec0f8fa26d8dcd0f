"""The tree of a log, as far as its seals can be followed: by the leaves of the records, else by those of the tiles.

Each root that was signed, or kept outside, is compared on the way. Where no leaves give the root of a seal, the tree is
lost, and no root after that can be compared.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from payment_token.audit_verifier.checkpoint import Checkpoint, Opened
from payment_token.audit_verifier.kept_tiles import KeptTiles
from payment_token.audit_verifier.outside import OutsideCheckpoints, sizes_within
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import Seal, SealedLog
from payment_token.audit_verifier.tile_hashes import LackingError, TileHashes
from payment_token.audit_verifier.tree import GrowingTree, Tile
from payment_token.audit_verifier.writers import Broken, OfSeal, Writers, altered


class FollowedTree:
    """``size`` is that of the log."""

    def __init__(
        self,
        log: SealedLog,
        report: Report,
        size: int,
        writers: Writers,
        outside: Sequence[OutsideCheckpoints],
    ) -> None:
        self._log = log
        self._report = report
        self._size = size
        self._writers = writers
        self._outside = outside
        self._tree = GrowingTree()
        self._tiles = KeptTiles(log, report, size)
        self._is_known = True

    def begin_at(self, size: int, seal: Seal | None, opened: Opened | None) -> None:
        """``seal`` is the one of this size, if there is one."""
        if seal is None:
            self._is_known = False
            return
        try:
            self._tree = GrowingTree.of_size(size, TileHashes(self._log, self._size).at)
        except LackingError as error:
            self._report.add(
                0, f"the tree cannot be put together from its tiles: {error}", size - 1
            )
            self._is_known = False
            return
        if opened is not None and opened.checkpoint.root != self._tree.root():
            self._report.add(0, "the tiles do not have the root that was signed", size - 1)
            self._is_known = False
            return
        for place in self._outside:
            place.compare(place.due(size), {size: self._tree.root()})

    def bridge(self, first: int, end: int) -> None:
        """The leaves from ``first`` up to ``end``, which no seal covers."""
        kept = self._tiles.leaves(first, end)
        if kept is None or not self._is_known:
            self._is_known = False
        else:
            self._tiles.add(self._tree.append(kept))
            self._report.by_tiles_alone += len(kept)

    def settle(self, seal: Seal, opened: Opened | None, of_seal: OfSeal) -> None:
        """4. to 6. of a seal."""
        due = [(place, place.due(seal.tree_size)) for place in self._outside]
        expected = opened.checkpoint.root if opened is not None else seal.root
        if not self._is_known:
            self._report_broken(of_seal.broken)
            return
        grown = self._grown(seal, of_seal, expected)
        if grown is None:
            self._lose(seal, of_seal)
            return
        roots = self._roots_within(seal, grown, [kept for _, kept in due])
        self._tree = grown.tree
        self._tiles.add(grown.tiles)
        for place, of_place in due:
            place.compare(of_place, roots)

    def check_tiles(self) -> None:
        """6., with one reading for all that became full since."""
        self._tiles.check()

    def end(self) -> bytes | None:
        """The right edge. Returns the root, ``None`` where the tree was lost."""
        if self._log.keeps_partial_tiles and self._is_known:
            self._tiles.add(self._tree.partial_tiles())
        self._tiles.check()
        return self._tree.root() if self._is_known else None

    def _roots_within(
        self, seal: Seal, grown: "_Grown", due: Sequence[Sequence[Checkpoint]]
    ) -> dict[int, bytes]:
        """Of the sizes that checkpoints outside have, the last of which is that of the seal."""
        inner = sizes_within(
            seal.first_index, seal.tree_size, (kept for of_place in due for kept in of_place)
        )
        roots = {seal.tree_size: grown.tree.root()}
        for size in inner:
            before = self._tree.copy()
            before.append(grown.leaves[: size - seal.first_index])
            roots[size] = before.root()
        return roots

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

    def _lose(self, seal: Seal, of_seal: OfSeal) -> None:
        """It cannot be followed any further. The one finding for it is as narrow as the records allow."""
        self._is_known = False
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


@dataclass(frozen=True, slots=True)
class _Grown:
    """The tree after a seal."""

    tree: GrowingTree
    leaves: Sequence[bytes]
    tiles: Sequence[Tile]
