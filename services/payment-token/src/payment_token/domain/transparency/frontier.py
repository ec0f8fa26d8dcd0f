"""The right edge of a tree that grows: all that is needed to append, and to know the root.

The tree is cut into tiles of eight levels, 256 hashes wide (C2SP tlog-tiles). A tile of level 0 holds leaf hashes, one of
level L the roots of the full tiles of level L - 1. A full tile never changes again, so it is handed out to be stored; the
frontier keeps what the last tile of each level has so far, at most 255 hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from payment_token.domain.transparency.hashes import EMPTY_ROOT, HASH_BYTES, root_of

TILE_WIDTH = 256
TILE_HEIGHT = 8


@dataclass(frozen=True, slots=True)
class TileName:
    """``index`` counts the tiles of a level from the left."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Tile:
    """``hashes`` are side by side, 32 bytes each, from the left; 256 of them in a full tile."""

    name: TileName
    hashes: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.hashes) <= TILE_WIDTH * HASH_BYTES or len(self.hashes) % HASH_BYTES:
            raise ValueError(f"a tile is 1 to {TILE_WIDTH} hashes")

    def split(self) -> list[bytes]:
        starts = range(0, len(self.hashes), HASH_BYTES)
        return [self.hashes[start : start + HASH_BYTES] for start in starts]

    @property
    def root(self) -> bytes:
        return root_of(self.split())


def widths(size: int) -> list[int]:
    """How many hashes the last tile of each level has, from level 0, where it is not full. Of an empty tree: none."""
    found = []
    while size:
        size, width = divmod(size, TILE_WIDTH)
        found.append(width)
    return found


class Frontier:
    """Of a tree with ``size`` leaves."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[list[bytes]] = []

    @classmethod
    def of(cls, size: int, levels: Sequence[Sequence[bytes]]) -> Self:
        """``levels`` are the hashes of the last tile of each level, as :func:`widths` counts them. Raises ValueError."""
        if [len(level) for level in levels] != widths(size):
            raise ValueError("these are not the tiles at the edge of a tree of this size")
        frontier = cls()
        frontier.size = size
        frontier._levels = [list(level) for level in levels]
        return frontier

    @property
    def edge(self) -> list[list[bytes]]:
        """The hashes of the last tile of each level, as :meth:`of` takes them."""
        return [list(level) for level in self._levels[: len(widths(self.size))]]

    def copy(self) -> Self:
        return self.of(self.size, self._levels)

    def append(self, hashes: Sequence[bytes]) -> list[Tile]:
        """Appends leaf hashes, and returns the tiles that are full now, each before those above it."""
        full: list[Tile] = []
        for leaf in hashes:
            self._append_to(0, leaf, full)
        return full

    def _append_to(self, level: int, value: bytes, full: list[Tile]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(value)
        if level == 0:
            self.size += 1
        if len(self._levels[level]) == TILE_WIDTH:
            index = (self.size >> (TILE_HEIGHT * (level + 1))) - 1
            tile = Tile(TileName(level, index), b"".join(self._levels[level]))
            self._levels[level] = []
            full.append(tile)
            self._append_to(level + 1, tile.root, full)

    @property
    def root(self) -> bytes:
        """What is at the edge of a level stands, with its own root, at the right of the level above."""
        edge: list[bytes] = []
        for level in self._levels:
            hashes = [*level, *edge]
            edge = [root_of(hashes)] if hashes else []
        return edge[0] if edge else EMPTY_ROOT
