"""Export: whatever is sealed goes into an archive, which then proves the same without the database.

1. the archive must be of this log: its newest root is the one that the database has at that size
2. read the seals beyond it, and their records, in the order of the leaves
3. whatever fills a tile is written, its entries first; the root must be that of the seal
4. now and then, and at the end: the partial tiles, the seals and checkpoints, and last of all the newest checkpoint

It may be stopped at any moment. What its newest checkpoint covers is whole; whatever lies beyond it, an interrupted export
has left, and the next one writes the same again. A full tile is never written over.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from payment_token.domain.audit_archive.growing_tree import GrowingTree, Tile
from payment_token.domain.audit_archive.layout import (
    CHECKPOINT,
    CHECKPOINTS,
    KEYS,
    SEALS,
    WIDTH,
    ArchiveError,
    TilePlace,
    packed,
    partial_places,
    unpacked,
)
from payment_token.domain.audit_archive.months_of_archive import end_of_last_month
from payment_token.domain.audit_archive.ports import Archive, SealedLog
from payment_token.domain.audit_archive.position import Position, archived_position
from payment_token.domain.audit_archive.sealed_log import Entry, Seal, SealedSeal
from payment_token.domain.transparency.hashes import leaf_hash
from payment_token.domain.transparency.signed_note import VerifierKey

_LEAVES_AT_ONCE = 4 * 1024
_SEALS_AT_ONCE = 1024
_LEAVES_BETWEEN_CHECKPOINTS = 256 * 1024
_SEALS_BETWEEN_CHECKPOINTS = 8 * 1024

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """Sizes of the tree in the archive."""

    before: int
    after: int


class ExportLog:
    def __init__(self, log: SealedLog, archive: Archive) -> None:
        self._log = log
        self._archive = archive

    async def __call__(self, report: Report = lambda _done, _of: None) -> Exported:
        """``report`` hears how many entries are exported, and of how many. Raises ArchiveError."""
        # 1.
        position = archived_position(self._archive)
        newest = await self._log.newest()
        await self._check_same_log(position, newest)
        if newest is None or newest.seal.tree_size <= position.size:
            return Exported(position.size, position.size)
        growth = _Growth(self._archive, position)
        growth.begin()
        # 2. to 4.
        before, target = position.size, newest.seal.tree_size
        async for seals in _batches(self._log.seals(before, target)):
            await self._add(growth, seals)
            if growth.is_long:
                growth.commit()
            report(growth.tree.size - before, target - before)
        growth.commit()
        await self._keep_keys()
        return Exported(before, growth.tree.size)

    async def _keep_keys(self) -> None:
        origin = archived_position(self._archive).origin
        keys = [VerifierKey(origin, key) for key in await self._log.public_keys()]
        text = "".join(f"{key}\n" for key in keys).encode()
        if self._archive.read(KEYS) != text:
            self._archive.write(KEYS, text)

    async def _check_same_log(self, position: Position, newest: SealedSeal | None) -> None:
        if not position.size:
            return
        if newest is None or newest.seal.tree_size < position.size:
            raise ArchiveError(
                f"the archive has {position.size:,} leaves, and the database fewer: was it restored from a backup?"
                " `payment-token recover` puts back what it lacks"
            )
        known = await self._log.seal_at(position.size)
        if known is None or known.root != position.root:
            raise ArchiveError(
                f"the archive and the database differ within the first {position.size:,} leaves: they are of different"
                " logs, or one was changed. `payment-token audit verify` says which"
            )

    async def _add(self, growth: "_Growth", seals: list[SealedSeal]) -> None:
        async with aclosing(self._log.entries([sealed.seal for sealed in seals])) as entries:
            for sealed in seals:
                await _add_leaves(growth, sealed.seal, entries)
                if growth.tree.size != sealed.seal.tree_size or growth.tree.root() != sealed.root:
                    raise ArchiveError(
                        f"the records of the leaves {sealed.seal.first_index} to {sealed.seal.tree_size - 1} are not"
                        " those that were sealed"
                    )
                growth.sealed(sealed)


async def _add_leaves(growth: "_Growth", seal: Seal, entries: AsyncIterator[Entry]) -> None:
    if seal.first_index != growth.tree.size:
        raise ArchiveError(f"no seal of the database begins at leaf {growth.tree.size}")
    for run in seal.runs:
        for sequence in range(run.first, run.last + 1):
            entry = await anext(entries, None)
            if entry is None or (entry.writer_id, entry.sequence) != (run.writer_id, sequence):
                raise ArchiveError(
                    f"the database lacks the record of leaf {growth.tree.size}"
                    f" (writer {run.writer_id.hex}, sequence {sequence})"
                )
            growth.add(entry)


class _Growth:
    """The archive between two checkpoints."""

    def __init__(self, archive: Archive, position: Position) -> None:
        self._archive = archive
        self._committed = position.size
        self._seals: list[SealedSeal] = []
        self._bundle = list(position.entries)
        self.tree = GrowingTree(position.size, [list(hashes) for hashes in position.edge])

    @property
    def is_long(self) -> bool:
        return (
            self.tree.size - self._committed >= _LEAVES_BETWEEN_CHECKPOINTS
            or len(self._seals) >= _SEALS_BETWEEN_CHECKPOINTS
        )

    def begin(self) -> None:
        """Takes away what an interrupted export has left where lines are added."""
        last = self._archive.read(CHECKPOINT)
        self._archive.cut(CHECKPOINTS, last or b"")
        self._archive.cut(SEALS, b'"tree_size":%d,' % self._committed if self._committed else b"")

    def add(self, entry: Entry) -> None:
        content = entry.bytes
        self._bundle.append(content)
        for tile in self.tree.add(leaf_hash(content)):
            if tile.place.level == 0:
                self._keep_bundle(tile.place.entries_path, self._bundle)
                self._bundle = []
            self._keep(tile)

    def sealed(self, sealed: SealedSeal) -> None:
        self._seals.append(sealed)

    def commit(self) -> None:
        if not self._seals:
            return
        size = self.tree.size
        if self._bundle:
            place = TilePlace(0, size // WIDTH, size % WIDTH)
            self._keep_bundle(place.entries_path, self._bundle)
        for tile in self.tree.partial_tiles():
            self._keep(tile)
        lines = "".join(sealed.seal.line + "\n" for sealed in self._seals)
        notes = "".join(sealed.checkpoint + "\n" for sealed in self._seals)
        self._archive.append(SEALS, lines.encode())
        self._archive.append(CHECKPOINTS, notes.encode())
        self._archive.write(CHECKPOINT, self._seals[-1].checkpoint.encode())
        self._remove_partial(self._committed, size)
        self._committed, self._seals = size, []

    def _keep(self, tile: Tile) -> None:
        there = self._archive.read(tile.place.path)
        if there is None:
            self._archive.write(tile.place.path, tile.hashes)
        elif there != tile.hashes:
            raise _differs(tile.place.path)

    def _keep_bundle(self, path: str, entries: list[bytes]) -> None:
        there = self._archive.read(path)
        if there is None:
            self._archive.write(path, packed(entries))
        # Another release of the compressor gives other bytes.
        elif unpacked(there) != entries:
            raise _differs(path)

    def _remove_partial(self, size: int, new_size: int) -> None:
        """The partial tiles of an older size; not those that the manifest of a month names."""
        if size == new_size or size == end_of_last_month(self._archive):
            return
        staying = {place.path for place in partial_places(new_size)}
        for place in partial_places(size):
            if place.path not in staying:
                self._archive.remove(place.path)
            if place.level == 0:
                self._archive.remove(place.entries_path)


def _differs(path: str) -> ArchiveError:
    return ArchiveError(f"{path} of the archive is there, and is not what the database has")


async def _batches(seals: AsyncIterator[SealedSeal]) -> AsyncIterator[list[SealedSeal]]:
    batch: list[SealedSeal] = []
    leaves = 0
    async for sealed in seals:
        batch.append(sealed)
        leaves += sealed.seal.tree_size - sealed.seal.first_index
        if leaves >= _LEAVES_AT_ONCE or len(batch) >= _SEALS_AT_ONCE:
            yield batch
            batch, leaves = [], 0
    if batch:
        yield batch
