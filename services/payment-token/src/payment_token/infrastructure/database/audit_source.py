"""The audit log in PostgreSQL, as the verifier reads it (:class:`payment_token.audit_verifier.sealed_log.LiveLog`).

All of it in one snapshot, so that what is written meanwhile is neither half seen nor missed. A leaf's entry is put together by
the database, in one value: that halves what the driver has to do, and the hashes say whether it is what was sealed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
from psycopg import Connection

from payment_token.audit_verifier.sealed_log import (
    Damage,
    NotedChain,
    Row,
    Run,
    Seal,
    TilePlace,
    UnsealedRow,
    WriterRows,
)
from payment_token.infrastructure.database.columns import columns

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# Runs are ranges of the primary key. The planner knows nothing of the arrays, and would rather read a partition whole.
_SETTINGS: tuple[LiteralString, ...] = (
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL enable_seqscan = off",
    # All rows of a reading are ready before the first is sent, while the verifier is busy with the ones before.
    "SET LOCAL enable_incremental_sort = off",
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL jit = off",
    "SET LOCAL plan_cache_mode = force_generic_plan",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL timezone = 'UTC'",
)

_ENTRY: LiteralString = (
    "convert_to(record || E'\\n' || to_char(recorded_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'UTF8')"
)
_MONTH: LiteralString = "to_char(month, 'YYYY-MM-DD')"

_ROWS: LiteralString = f"""
SELECT (wanted.position - 1)::int, sequence, {_ENTRY}, {_MONTH}
  FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[]) WITH ORDINALITY
       AS wanted (writer_id, first_sequence, last_sequence, position)
  JOIN decrypt_audit_log AS kept
    ON kept.writer_id = wanted.writer_id AND kept.sequence BETWEEN first_sequence AND last_sequence
 ORDER BY position, sequence, month
"""

_SEALS: LiteralString = """
SELECT first_index, tree_size, sealed_at, writer_ids, first_sequences, last_sequences, checkpoint, root, signing_key
  FROM audit_seals WHERE tree_size > %b ORDER BY tree_size, first_index LIMIT %b
"""
_SEALS_AT_ONCE = 2_000

_SIZE: LiteralString = "SELECT coalesce(max(tree_size), 0) FROM audit_seals"

_SIZE_BEFORE: LiteralString = (
    "SELECT coalesce(max(tree_size), 0) FROM audit_seals WHERE sealed_at < %b"
)

_TILES: LiteralString = """
SELECT level, tile, hashes FROM audit_tiles
  JOIN unnest(%b::smallint[], %b::bigint[]) AS wanted (level, tile) USING (level, tile)
"""

_TILES_BEYOND: LiteralString = """
SELECT level, tile FROM audit_tiles
 WHERE (tile + 1)::numeric * 256::numeric ^ (level + 1) > %b OR tile < 0 OR level < 0 ORDER BY 1, 2
"""

_WRITERS: LiteralString = (
    "SELECT writer_id, min(sequence), max(sequence) FROM decrypt_audit_log GROUP BY writer_id"
)
_WRITERS_SINCE: LiteralString = """
SELECT writer_id, min(sequence), max(sequence) FROM decrypt_audit_log WHERE recorded_at >= %b GROUP BY writer_id
"""

_OUTSIDE: LiteralString = f"""
SELECT replace(kept.writer_id::text, '-', ''), sequence, {_ENTRY}, {_MONTH}
  FROM unnest(%b::uuid[], %b::bigint[]) AS sealed (writer_id, last_sequence)
  JOIN decrypt_audit_log AS kept
    ON kept.writer_id = sealed.writer_id AND (kept.sequence > last_sequence OR kept.sequence < 0)
 ORDER BY kept.writer_id, sequence, month
"""

_LAST_SEALED: LiteralString = """
SELECT coalesce(max(last_sequences[place]), -1)
  FROM audit_seals, LATERAL unnest(array_positions(writer_ids, %b)) AS place WHERE tree_size <= %b
"""

_HAS_MONTH: LiteralString = """
SELECT EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = 'decrypt_audit_log'::regclass AND inhrelid = to_regclass(quote_ident(%b)))
"""

_CHAINS: LiteralString = (
    "SELECT writer_id, sealed_sequence, sealed_hash, ended FROM audit_chains ORDER BY writer_id"
)
_SIGNING_KEYS: LiteralString = (
    "SELECT version, public_key FROM encryption_keys"
    " WHERE purpose = 'audit-signing' AND public_key IS NOT NULL"
)


@contextmanager
def audit_source(url: str) -> Iterator["DatabaseLog"]:
    """One snapshot of the log, as of now. Raises psycopg.Error."""
    with psycopg.connect(url, application_name="payment-token audit") as connection:
        connection.execute(_SNAPSHOT)
        yield DatabaseLog(connection)


class DatabaseLog:
    """Within the transaction that is open on the connection, or begins with its next statement."""

    keeps_partial_tiles = False

    def __init__(self, connection: Connection) -> None:
        self.lacking: list[str] = []
        self.damaged: list[Damage] = []
        self._connection = connection
        for setting in _SETTINGS:
            connection.execute(setting)

    def size(self) -> int:
        return int(self._value(_SIZE))

    def size_before(self, since: datetime) -> int:
        """Of the last seal before that moment."""
        return int(self._value(_SIZE_BEFORE, since))

    def seals(self, after: int) -> Iterator[Seal]:
        while True:
            seals = [_seal(row) for row in self._all(_SEALS, after, _SEALS_AT_ONCE)]
            yield from seals
            if len(seals) < _SEALS_AT_ONCE:
                return
            after = seals[-1].tree_size

    def rows(self, runs: Sequence[Run], first_index: int) -> Iterable[Row]:
        del first_index
        wanted = [(UUID(hex=run.writer_id), run.first, run.last) for run in runs]
        if not wanted:
            return []
        # Tuples of the shape of a Row; making them Rows would take as long as reading them.
        return cast("list[Row]", self._all(_ROWS, *columns(("uuid", "bigint", "bigint"), wanted)))

    def tiles(self, places: Sequence[TilePlace]) -> Mapping[TilePlace, bytes]:
        if not places:
            return {}
        wanted = columns(("smallint", "bigint"), [(place.level, place.number) for place in places])
        kept = {(level, tile): hashes for level, tile, hashes in self._all(_TILES, *wanted)}
        return {place: kept[place[:2]] for place in places if place[:2] in kept}

    def entry(self, writer_id: str, sequence: int) -> bytes | None:
        """Of one record, sealed or not."""
        rows = self.rows([Run(writer_id, sequence, sequence)], 0)
        return next((row[2] for row in rows), None)

    def has_month(self, time: datetime) -> bool:
        """Whether the table has the partition of the month."""
        return bool(self._value(_HAS_MONTH, f"decrypt_audit_log_{time:%Y_%m}"))

    def now(self) -> datetime:
        now: datetime = self._value("SELECT clock_timestamp()")
        return now

    def writers(self, since: datetime | None) -> Iterable[WriterRows]:
        # Every writer once: an index is read whole, or the part of the table that is recent.
        self._connection.execute("SET LOCAL enable_seqscan = on")
        rows = self._all(_WRITERS) if since is None else self._all(_WRITERS_SINCE, since)
        self._connection.execute("SET LOCAL enable_seqscan = off")
        return [WriterRows(writer_id.hex, first, last) for writer_id, first, last in rows]

    def rows_outside(self, sealed: Mapping[str, int]) -> Iterator[UnsealedRow]:
        if not sealed:
            return
        wanted = [(UUID(hex=writer_id), last) for writer_id, last in sealed.items()]
        with self._connection.cursor("unsealed", binary=True) as cursor:
            cursor.itersize = 2_000
            cursor.execute(_OUTSIDE, columns(("uuid", "bigint"), wanted), binary=True)
            for row in cursor:
                yield UnsealedRow(*row)

    def last_sealed(self, writer_id: str, up_to: int) -> int:
        return int(self._value(_LAST_SEALED, UUID(hex=writer_id), up_to))

    def noted_chains(self) -> Iterable[NotedChain]:
        rows = self._all(_CHAINS)
        return [NotedChain(writer_id.hex, *rest) for writer_id, *rest in rows]

    def tiles_beyond(self, size: int) -> Iterable[TilePlace]:
        return [TilePlace(level, tile, 256) for level, tile in self._all(_TILES_BEYOND, size)]

    def signing_keys(self) -> Mapping[str, bytes]:
        return dict(self._all(_SIGNING_KEYS))

    def _all(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(query, parameters, prepare=True)
            return cursor.fetchall()

    def _value(self, query: LiteralString, *parameters: object) -> Any:
        return self._all(query, *parameters)[0][0]


def _seal(row: Sequence[Any]) -> Seal:
    first_index, tree_size, sealed_at, writer_ids, firsts, lasts, note, root, signing_key = row
    # Arrays of different lengths are a seal that was changed: what is missing is a run of nothing.
    width = max(len(writer_ids), len(firsts), len(lasts))
    padded = zip(
        _padded([w.hex for w in writer_ids], width, ""),
        _padded(firsts, width, 0),
        _padded(lasts, width, -2),
        strict=True,
    )
    runs = tuple(Run(*run) for run in padded)
    return Seal(first_index, tree_size, sealed_at, runs, note, bytes(root), signing_key)


def _padded(values: Sequence[Any], width: int, filling: object) -> list[Any]:
    return [*values, *[filling] * (width - len(values))]
