"""The tiles of the audit log's tree, as they are stored. The contract is :class:`payment_token.domain.transparency.proofs.Tiles`.

Only full tiles are stored. What a tile at the right edge has so far follows from what is under it: of level 0 from the
records, of the others from the full tiles of the level below.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from psycopg import AsyncConnection

from payment_token.domain.log_sealing.chain_check import LogRow
from payment_token.domain.transparency.frontier import TILE_WIDTH, Tile, TileName
from payment_token.domain.transparency.hashes import HASH_BYTES, leaf_hash

_TILES = "SELECT tile, hashes FROM audit_tiles WHERE level = %s AND tile >= %s AND tile < %s ORDER BY tile"

_RUNS = """
SELECT first_index, writer_ids, first_sequences, last_sequences FROM audit_seals
 WHERE tree_size > %s AND first_index < %s ORDER BY tree_size
"""

_ROWS = """
SELECT place, log.sequence, recorded_at, month, record
  FROM unnest(%s::uuid[], %s::bigint[]) WITH ORDINALITY AS sealed (writer_id, sequence, place)
  JOIN decrypt_audit_log AS log ON log.writer_id = sealed.writer_id AND log.sequence = sealed.sequence
 ORDER BY place
"""


class PostgresTiles:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read(self, name: TileName, width: int) -> Tile:
        found = await self._full(name.level, name.index, name.index + 1)
        if found:
            return Tile(name, found[0].hashes[: width * HASH_BYTES])
        if width == TILE_WIDTH:
            raise LookupError("a tile is missing")
        first = name.index * TILE_WIDTH
        if name.level == 0:
            return Tile(name, b"".join(await self._leaves(first, first + width)))
        under = await self._full(name.level - 1, first, first + width)
        if len(under) != width:
            raise LookupError("a tile is missing")
        return Tile(name, b"".join(tile.root for tile in under))

    async def _full(self, level: int, first: int, end: int) -> list[Tile]:
        cursor = await self._connection.execute(_TILES, (level, first, end))
        return [Tile(TileName(level, index), hashes) async for index, hashes in cursor]

    async def _leaves(self, first: int, end: int) -> list[bytes]:
        cursor = await self._connection.execute(_RUNS, (first, end))
        places = _between(first, end, await cursor.fetchall())
        writers, sequences = [writer for writer, _ in places], [number for _, number in places]
        cursor = await self._connection.execute(_ROWS, (writers, sequences))
        rows = await cursor.fetchall()
        # A record that is there twice, in two months, is as bad as one that is missing.
        if [place for place, *_ in rows] != list(range(1, end - first + 1)):
            raise LookupError("a record that was sealed is missing")
        return [leaf_hash(LogRow(*row).entry) for _, *row in rows]


def _between(first: int, end: int, seals: Sequence[tuple[int, ...]]) -> list[tuple[UUID, int]]:
    """Who wrote the leaves with these indices, and as which of their records."""
    return [place for index, place in _places(seals) if first <= index < end]


def _places(seals: Sequence[tuple]) -> Iterator[tuple[int, tuple[UUID, int]]]:  # type: ignore[type-arg]
    for first_index, writers, first_sequences, last_sequences in seals:
        index = first_index
        for writer, first, last in zip(writers, first_sequences, last_sequences, strict=True):
            for sequence in range(first, last + 1):
                yield index, (writer, sequence)
                index += 1
