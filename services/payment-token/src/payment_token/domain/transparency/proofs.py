"""Proofs that an entry is in a tree, and that a tree grew out of a smaller one (RFC 9162 §2.1.3.1 and §2.1.4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from payment_token.domain.transparency.frontier import TILE_HEIGHT, TILE_WIDTH, Tile, TileName
from payment_token.domain.transparency.hashes import node_hash, root_of


class Tiles(Protocol):
    """Where the tiles of a tree are read."""

    async def read(self, name: TileName, width: int) -> Tile:
        """The first ``width`` hashes of a tile, which the tree has. Raises LookupError when it does not."""
        ...


@dataclass(frozen=True, slots=True)
class _Leaves:
    """From ``first`` to before ``end``: the leaves of a subtree."""

    first: int
    end: int

    def split(self) -> "tuple[_Leaves, _Leaves]":
        """At the largest power of two that is smaller than the number of leaves."""
        middle = self.first + (1 << ((self.end - self.first - 1).bit_length() - 1))
        return _Leaves(self.first, middle), _Leaves(middle, self.end)

    @property
    def is_one(self) -> bool:
        return self.end - self.first == 1


async def inclusion_proof(tiles: Tiles, index: int, size: int) -> list[bytes]:
    """The hashes beside the way from a leaf up to the root. Raises IndexError, LookupError."""
    if not 0 <= index < size:
        raise IndexError("a leaf of the tree has an index from 0 to size - 1")
    proof = []
    here, tree = _Leaves(0, size), _Tree(tiles, size)
    while not here.is_one:
        left, right = here.split()
        here, beside = (left, right) if index < left.end else (right, left)
        proof.append(await tree.root_over(beside))
    return proof[::-1]


async def consistency_proof(tiles: Tiles, old_size: int, size: int) -> list[bytes]:
    """The hashes that make up both roots. Empty for an empty or an equal tree. Raises IndexError, LookupError."""
    if not 0 <= old_size <= size:
        raise IndexError("the smaller tree comes first")
    if old_size in (0, size):
        return []
    proof = []
    here, tree = _Leaves(0, size), _Tree(tiles, size)
    while here.end != old_size:
        left, right = here.split()
        here, beside = (left, right) if old_size <= left.end else (right, left)
        proof.append(await tree.root_over(beside))
    if here.first > 0:
        # The old root is made of more than this subtree, so it does not follow from the old root.
        proof.append(await tree.root_over(here))
    return proof[::-1]


class _Tree:
    """Roots of subtrees, from tiles that are each read once."""

    def __init__(self, tiles: Tiles, size: int) -> None:
        self._tiles = tiles
        self._size = size
        self._read: dict[TileName, Sequence[bytes]] = {}

    async def root_over(self, leaves: _Leaves) -> bytes:
        count = leaves.end - leaves.first
        if count & (count - 1) == 0:
            return await self._perfect(leaves.first, count.bit_length() - 1)
        left, right = leaves.split()
        return node_hash(await self.root_over(left), await self.root_over(right))

    async def _perfect(self, first: int, height: int) -> bytes:
        level, within = divmod(height, TILE_HEIGHT)
        start = first >> (TILE_HEIGHT * level)
        hashes = await self._tile(TileName(level, start // TILE_WIDTH))
        offset = start % TILE_WIDTH
        return root_of(hashes[offset : offset + (1 << within)])

    async def _tile(self, name: TileName) -> Sequence[bytes]:
        if name not in self._read:
            wide = (self._size >> (TILE_HEIGHT * name.level)) - name.index * TILE_WIDTH
            tile = await self._tiles.read(name, min(wide, TILE_WIDTH))
            self._read[name] = tile.split()
        return self._read[name]
