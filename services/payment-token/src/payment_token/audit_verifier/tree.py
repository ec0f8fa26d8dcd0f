"""The Merkle tree of RFC 9162 §2.1.1 (the one of RFC 6962), and its tiles of 256 hashes (C2SP tlog-tiles).

leaf = SHA-256(0x00, entry); node = SHA-256(0x01, left, right). The tree grows by many leaves at once, a level at a time;
what is kept of it is its right edge: for each level a node that has no sibling yet, and the tiles that are not full.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

TILE_WIDTH = 256
TILE_HEIGHT = 8
HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

HashesAt = Callable[[int, int, int], Sequence[bytes]]
"""The hashes of a level of tiles, from one number up to another one, which is not of them."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tile:
    """Tile ``number`` of ``level`` covers the leaves from ``first_leaf`` on; ``hashes`` are 32 bytes each."""

    level: int
    number: int
    hashes: bytes

    @property
    def first_leaf(self) -> int:
        return first_leaf_of(self.level, self.number)


def first_leaf_of(level: int, number: int) -> int:
    return int(number * TILE_WIDTH ** (level + 1))


class GrowingTree:
    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes | None] = []
        self._tiles: list[list[bytes]] = []

    @classmethod
    def of_size(cls, size: int, hashes_at: HashesAt) -> "GrowingTree":
        """The tree of a log that has tiles up to there, without its leaves."""
        tree = cls()
        tree.size = size
        for height in range(size.bit_length()):
            level, within = divmod(height, TILE_HEIGHT)
            if within == 0:
                count = size >> height
                tree._tiles.append(list(hashes_at(level, count - count % TILE_WIDTH, count)))
            if size >> height & 1:
                last = (size >> height) << within
                node = perfect_root(hashes_at(level, last - (1 << within), last))
                tree._edge.append(node)
            else:
                tree._edge.append(None)
        return tree

    def copy(self) -> "GrowingTree":
        other = GrowingTree()
        other.size = self.size
        other._edge = self._edge.copy()
        other._tiles = [tile.copy() for tile in self._tiles]
        return other

    def append(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Gives the tiles that are full now."""
        first, full, height = self.size, list[Tile](), 0
        self.size += len(leaves)
        nodes = list(leaves)
        while nodes:
            if height == len(self._edge):
                self._edge.append(None)
            if height % TILE_HEIGHT == 0:
                full += self._add_to_tiles(height // TILE_HEIGHT, first >> height, nodes)
            nodes = self._joined(height, nodes)
            height += 1
        return full

    def _joined(self, height: int, nodes: list[bytes]) -> list[bytes]:
        waiting = self._edge[height]
        if waiting is not None:
            nodes.insert(0, waiting)
        self._edge[height] = nodes.pop() if len(nodes) % 2 else None
        return [
            sha256(b"\1" + left + right).digest()
            for left, right in zip(nodes[::2], nodes[1::2], strict=True)
        ]

    def _add_to_tiles(self, level: int, first: int, hashes: list[bytes]) -> list[Tile]:
        if level == len(self._tiles):
            self._tiles.append([])
        row = self._tiles[level]
        number = (first - len(row)) // TILE_WIDTH
        row += hashes
        full = len(row) // TILE_WIDTH
        self._tiles[level] = row[full * TILE_WIDTH :]
        return [
            Tile(level, number + n, b"".join(row[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]))
            for n in range(full)
        ]

    def partial_tiles(self) -> list[Tile]:
        """Those of the right edge that are not full, and not empty."""
        return [
            Tile(level, (self.size >> TILE_HEIGHT * level) // TILE_WIDTH, b"".join(row))
            for level, row in enumerate(self._tiles)
            if row
        ]

    def root(self) -> bytes:
        root = None
        for node in self._edge:
            if node is not None:
                root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Over as many hashes as a power of two."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def split_hashes(tile: bytes) -> list[bytes]:
    return [tile[place : place + HASH_BYTES] for place in range(0, len(tile), HASH_BYTES)]
