"""The Merkle tree of RFC 6962 as it grows by leaves: its full tiles come out, and its right edge is all that is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from payment_token.domain.audit_archive.layout import WIDTH, TilePlace, partial_places

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tile:
    place: TilePlace
    hashes: bytes


@dataclass(slots=True)
class GrowingTree:
    """``edge`` has for each level the hashes of its last, partial tile. It is what :meth:`partial_tiles` gave before."""

    size: int = 0
    edge: list[list[bytes]] = field(default_factory=list)

    def add(self, leaf: bytes) -> list[Tile]:
        """The tiles that became full."""
        self.size += 1
        full: list[Tile] = []
        level, tile_hash = 0, leaf
        while True:
            if level == len(self.edge):
                self.edge.append([])
            self.edge[level].append(tile_hash)
            if len(self.edge[level]) < WIDTH:
                return full
            hashes, self.edge[level] = self.edge[level], []
            index = self.size // WIDTH ** (level + 1) - 1
            full.append(Tile(TilePlace(level, index), b"".join(hashes)))
            tile_hash = perfect_root(hashes)
            level += 1

    def partial_tiles(self) -> Iterator[Tile]:
        for place in partial_places(self.size):
            yield Tile(place, b"".join(self.edge[place.level]))

    def root(self) -> bytes:
        """RFC 6962 §2.1: the perfect subtrees, the largest first, folded from the right."""
        root = None
        for hashes in self.edge:
            for subtree in reversed(_perfect_parts(hashes)):
                part = perfect_root(subtree)
                root = part if root is None else node_hash(part, root)
        return EMPTY_ROOT if root is None else root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Over as many hashes as a power of two."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[place], row[place + 1]) for place in range(0, len(row), 2)]
    return row[0]


def _perfect_parts(hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    parts, begin = [], 0
    for bit in reversed(range(WIDTH.bit_length())):
        width = 1 << bit
        if len(hashes) & width:
            parts.append(hashes[begin : begin + width])
            begin += width
    return parts
