"""The tree of the log as it grows in an archive, whose tiles are files: full ones come out, and partial ones are its edge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payment_token.domain.audit_archive.layout import TilePlace, partial_places
from payment_token.domain.transparency.frontier import Frontier


@dataclass(frozen=True, slots=True)
class Tile:
    place: TilePlace
    hashes: bytes


class GrowingTree:
    """``edge`` has for each level the hashes of its last, partial tile: what :meth:`partial_tiles` gave before.

    Raises ValueError for an edge that a tree of this size does not have.
    """

    def __init__(self, size: int = 0, edge: Sequence[Sequence[bytes]] = ()) -> None:
        self._frontier = Frontier.of(size, edge)

    @property
    def size(self) -> int:
        return self._frontier.size

    def add(self, leaf: bytes) -> list[Tile]:
        """The tiles that became full."""
        return [
            Tile(TilePlace(tile.name.level, tile.name.index), tile.hashes)
            for tile in self._frontier.append([leaf])
        ]

    def partial_tiles(self) -> Iterator[Tile]:
        edge = self._frontier.edge
        for place in partial_places(self.size):
            yield Tile(place, b"".join(edge[place.level]))

    def root(self) -> bytes:
        return self._frontier.root
