"""The hashes of a log at any level, though it keeps full tiles only: what no tile has is made of the level below."""

from collections.abc import Sequence

from payment_token.audit_verifier.sealed_log import SealedLog, TilePlace
from payment_token.audit_verifier.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    leaf_hash,
    perfect_root,
    split_hashes,
)


class LackingError(Exception):
    """The log does not have what a hash is made of."""


class TileHashes:
    """``size`` is that of the log."""

    def __init__(self, log: SealedLog, size: int) -> None:
        self._log = log
        self._size = size
        self._known: dict[tuple[int, int], Sequence[bytes] | None] = {}

    def at(self, level: int, first: int, end: int) -> list[bytes]:
        """Those from ``first`` up to ``end``. Raises LackingError."""
        hashes: list[bytes] = []
        while first < end:
            number = first // TILE_WIDTH
            upper = min(end, (number + 1) * TILE_WIDTH)
            tile = self._tile(level, number)
            begin = first - number * TILE_WIDTH
            if tile is not None and len(tile) >= upper - number * TILE_WIDTH:
                hashes += tile[begin : begin + upper - first]
            elif level:
                hashes += [self._of_level_below(level, place) for place in range(first, upper)]
            else:
                hashes += leaves_of_records(self._log, first, upper)
            first = upper
        return hashes

    def _of_level_below(self, level: int, place: int) -> bytes:
        return perfect_root(self.at(level - 1, place * TILE_WIDTH, (place + 1) * TILE_WIDTH))

    def _tile(self, level: int, number: int) -> Sequence[bytes] | None:
        if (level, number) not in self._known:
            place = TilePlace(level, number, width_of(self._log, self._size, level, number))
            tile = self._log.tiles([place]).get(place) if place.width else None
            usable = tile is not None and len(tile) == place.width * HASH_BYTES
            self._known[level, number] = split_hashes(tile) if tile and usable else None
        return self._known[level, number]


def width_of(log: SealedLog, size: int, level: int, number: int) -> int:
    """How many hashes a tile of a log has: 256, or fewer at its right edge if the log keeps those; 0 if there is no tile."""
    there = (size >> 8 * level) - number * TILE_WIDTH
    if there >= TILE_WIDTH:
        return TILE_WIDTH
    return max(there, 0) if log.keeps_partial_tiles else 0


def leaves_of_records(log: SealedLog, first: int, end: int) -> list[bytes]:
    """Raises LackingError."""
    leaves: list[bytes] = []
    for seal in log.seals(first):
        if seal.first_index >= end:
            break
        rows = log.rows(seal.runs, seal.first_index)
        of_seal = [None if row[2] is None else leaf_hash(row[2]) for row in rows]
        if len(of_seal) != seal.tree_size - seal.first_index:
            raise LackingError(f"records of the leaves from {seal.first_index} on are missing")
        below = max(first - seal.first_index, 0)
        for leaf in of_seal[below : end - seal.first_index]:
            if leaf is None:
                raise LackingError(f"a record of the leaves from {seal.first_index} on is missing")
            leaves.append(leaf)
    if len(leaves) != end - first:
        raise LackingError(f"no seals cover the leaves from {first} to {end - 1}")
    return leaves
