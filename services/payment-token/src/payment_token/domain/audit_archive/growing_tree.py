"""The tree of the log as it grows in an archive: full tiles come out, and its right edge is kept, as partial tiles are."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from payment_token.domain.audit_archive.layout import WIDTH, TilePlace, partial_places
from payment_token.domain.transparency.hashes import EMPTY_ROOT, root_of


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
            tile_hash = root_of(hashes)
            level += 1

    def partial_tiles(self) -> Iterator[Tile]:
        for place in partial_places(self.size):
            yield Tile(place, b"".join(self.edge[place.level]))

    def root(self) -> bytes:
        """What is at the edge of a level stands, with its own root, at the right of the level above."""
        right: list[bytes] = []
        for hashes in self.edge:
            right = [root_of([*hashes, *right])] if hashes or right else []
        return right[0] if right else EMPTY_ROOT
