"""The tiles that a log keeps, against those that its records give."""

from collections.abc import Iterable, Sequence

from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.sealed_log import SealedLog, TilePlace
from payment_token.audit_verifier.tile_hashes import width_of
from payment_token.audit_verifier.tree import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    split_hashes,
)


class KeptTiles:
    """``size`` is that of the log."""

    def __init__(self, log: SealedLog, report: Report, size: int) -> None:
        self._log = log
        self._report = report
        self._size = size
        self._unchecked: list[Tile] = []

    def add(self, tiles: Iterable[Tile]) -> None:
        self._unchecked += tiles

    def check(self) -> None:
        """Compares what was added since, with one reading."""
        tiles, self._unchecked = self._unchecked, []
        if not tiles:
            return
        places = [
            TilePlace(tile.level, tile.number, len(tile.hashes) // HASH_BYTES) for tile in tiles
        ]
        kept = self._log.tiles(places)
        for tile, place in zip(tiles, places, strict=True):
            self._report.tiles += 1
            if kept.get(place) != tile.hashes:
                self._report_tile(tile, kept.get(place))

    def leaves(self, first: int, end: int) -> list[bytes] | None:
        """The leaves from ``first`` up to ``end`` as the tiles have them; ``None`` if they do not have all."""
        leaves: list[bytes] = []
        for number in range(first // TILE_WIDTH, -(-end // TILE_WIDTH)):
            place = TilePlace(0, number, width_of(self._log, self._size, 0, number))
            tile = self._log.tiles([place]).get(place) if place.width else None
            if tile is None:
                return None
            leaves += split_hashes(tile)
        skipped = first % TILE_WIDTH
        leaves = leaves[skipped : skipped + end - first]
        return leaves if len(leaves) == end - first else None

    def _report_tile(self, tile: Tile, kept: bytes | None) -> None:
        name = f"tile {tile.number} of level {tile.level}"
        if kept is None:
            if not self._log.keeps_partial_tiles:
                self._report.add(tile.first_leaf, f"{name} is missing", _last_leaf(tile))
            return
        place = _first_difference(split_hashes(tile.hashes), split_hashes(kept))
        width = 1 << TILE_HEIGHT * tile.level
        first = tile.first_leaf + place * width
        self._report.add(first, f"{name} is not what the records give", first + width - 1)


def _last_leaf(tile: Tile) -> int:
    return tile.first_leaf + TILE_WIDTH * (1 << TILE_HEIGHT * tile.level) - 1


def _first_difference(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
