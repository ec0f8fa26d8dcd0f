"""Sealing on PostgreSQL. The contract is :mod:`payment_token.domain.log_sealing.ports`.

The sealer has a connection of its own, and the advisory lock of that session makes it the only one. What it writes goes
over the same connection, so whoever lost the lock can write nothing any more.
"""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.log_sealing.chain_check import FIRST_PREVIOUS, Chain, LogRow
from payment_token.domain.log_sealing.ports import Waiting
from payment_token.domain.log_sealing.seal import LastSeal, Seal
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.frontier import (
    TILE_HEIGHT,
    Frontier,
    TileName,
    widths,
)
from payment_token.infrastructure.database.audit_tiles import PostgresTiles

logger = logging.getLogger(__name__)

# A round is milliseconds; after a long pause it reads more. Months are pruned by the values at hand.
_SESSION = (
    "-c statement_timeout=20s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s -c timezone=UTC"
    " -c synchronous_commit=on -c plan_cache_mode=force_custom_plan"
)

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('payment-token audit sealer', 0))"

_LAST_SEAL = (
    "SELECT tree_size, root, sealed_at, checkpoint FROM audit_seals ORDER BY tree_size DESC LIMIT 1"
)

# Of each writer that is open, by its own index; an idle one costs a look into the index of a month or two. A writer that
# many records wait of leaves room for the others.
_WAITING = """
WITH known AS (
    SELECT writer_id, sealed_sequence, sealed_hash, opened_at FROM audit_chains WHERE NOT ended
     UNION ALL
    SELECT writer_id, -1, %(first_previous)s::bytea, NULL::timestamptz
      FROM (SELECT DISTINCT writer_id FROM decrypt_audit_log
             WHERE sequence = 0 AND recorded_at >= %(since)s
               AND month BETWEEN %(month)s AND date_trunc('month', now())::date) AS opened
     WHERE NOT EXISTS (SELECT FROM audit_chains WHERE audit_chains.writer_id = opened.writer_id)
), waiting AS MATERIALIZED (
    SELECT * FROM known
     WHERE writer_id <> ALL (%(without)s::uuid[])
       AND EXISTS (SELECT FROM decrypt_audit_log AS log
                    WHERE log.writer_id = known.writer_id AND log.sequence > known.sealed_sequence
                      AND month BETWEEN %(month)s AND date_trunc('month', now())::date)
)
SELECT waiting.*, following.*
  FROM waiting, LATERAL (
       SELECT sequence, recorded_at, month, record FROM decrypt_audit_log AS log
        WHERE log.writer_id = waiting.writer_id AND log.sequence > waiting.sealed_sequence
          AND month BETWEEN %(month)s AND date_trunc('month', now())::date
        ORDER BY sequence, month
        LIMIT greatest(16, %(most)s / (SELECT count(*) FROM waiting))) AS following
 ORDER BY waiting.writer_id, following.sequence, following.month
 LIMIT %(most)s
"""

_CHAIN_COLUMNS = 4

_WRITE_SEAL = """
INSERT INTO audit_seals (tree_size, first_index, root, writer_ids, first_sequences, last_sequences, checkpoint, signing_key)
VALUES (%s, %s, %s, %s::uuid[], %s::bigint[], %s::bigint[], %s, %s)
RETURNING sealed_at
"""

_WRITE_TILES = """
INSERT INTO audit_tiles (level, tile, hashes) SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])
"""

_WRITE_CHAINS = """
INSERT INTO audit_chains (writer_id, sealed_sequence, sealed_hash, opened_at, ended)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bytea[], %s::timestamptz[], %s::boolean[])
    ON CONFLICT (writer_id) DO UPDATE
   SET sealed_sequence = excluded.sealed_sequence, sealed_hash = excluded.sealed_hash, ended = excluded.ended
"""

# Asked only when the log was set back.
_RECOVERED = """
SELECT EXISTS (
    SELECT FROM decrypt_audit_log
     WHERE record LIKE '%%"event":"log_recovered"%%'
       AND record::jsonb ->> 'event' = 'log_recovered'
       AND record::jsonb -> 'details' ->> 'abandoned_tree_size' = %s
       AND record::jsonb -> 'details' ->> 'abandoned_root' = %s)
"""

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class PostgresSealedLogs:
    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def alone(self) -> AsyncIterator["PostgresSealedLog | None"]:
        failed = False
        try:
            async with await self._connect() as connection:
                alone = await (await connection.execute(_LOCK)).fetchone()
                yield PostgresSealedLog(connection) if alone == (True,) else None
        except psycopg.Error as error:
            logger.warning(
                "database error in sealing", extra={"sqlstate": error.sqlstate or "connection"}
            )
            failed = True
        if failed:
            raise DatabaseUnavailableError

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(
            self._url,
            autocommit=True,
            options=_SESSION,
            connect_timeout=5,
            application_name="payment-token sealer",
        )


class PostgresSealedLog:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._tiles = PostgresTiles(connection)

    async def last_seal(self) -> LastSeal | None:
        row = await (await self._connection.execute(_LAST_SEAL)).fetchone()
        return None if row is None else LastSeal(*row)

    async def frontier(self, size: int) -> Frontier:
        levels = []
        for level, width in enumerate(widths(size)):
            name = TileName(level, size >> TILE_HEIGHT * (level + 1))
            tile = await self._tiles.read(name, width) if width else None
            levels.append(tile.split() if tile else [])
        return Frontier.of(size, levels)

    async def waiting(
        self, opened_since: datetime | None, without: Collection[UUID], most: int
    ) -> Sequence[Waiting]:
        since = opened_since or _BEGINNING
        cursor = await self._connection.execute(
            _WAITING,
            {
                "first_previous": FIRST_PREVIOUS,
                "since": since,
                "month": since.astimezone(UTC).date().replace(day=1),
                "without": list(without),
                "most": most,
            },
        )
        rows = await cursor.fetchall()
        return [
            Waiting(Chain(*chain), [LogRow(*row[_CHAIN_COLUMNS:]) for row in of_chain])
            for chain, of_chain in groupby(rows, lambda row: row[:_CHAIN_COLUMNS])
        ]

    async def write(self, seal: Seal) -> datetime:
        async with self._connection.transaction():
            cursor = await self._connection.execute(_WRITE_SEAL, _seal_row(seal))
            row = await cursor.fetchone()
            if seal.tiles:
                await self._connection.execute(_WRITE_TILES, _tile_columns(seal))
            await self._connection.execute(_WRITE_CHAINS, _chain_columns(seal))
        if row is None:
            raise DatabaseUnavailableError
        sealed_at: datetime = row[0]
        return sealed_at

    async def has_recovered_from(self, checkpoint: Checkpoint) -> bool:
        cursor = await self._connection.execute(
            _RECOVERED, (str(checkpoint.size), checkpoint.root.hex())
        )
        return await cursor.fetchone() == (True,)


def _seal_row(seal: Seal) -> tuple[object, ...]:
    return (
        seal.tree_size,
        seal.first_index,
        seal.root,
        [run.chain.writer_id for run in seal.runs],
        [run.first_sequence for run in seal.runs],
        [run.chain.sequence for run in seal.runs],
        seal.checkpoint,
        seal.signing_key,
    )


def _tile_columns(seal: Seal) -> tuple[object, ...]:
    return (
        [tile.name.level for tile in seal.tiles],
        [tile.name.index for tile in seal.tiles],
        [tile.hashes for tile in seal.tiles],
    )


def _chain_columns(seal: Seal) -> tuple[object, ...]:
    chains = [run.chain for run in seal.runs]
    return (
        [chain.writer_id for chain in chains],
        [chain.sequence for chain in chains],
        [chain.record_hash for chain in chains],
        [chain.opened_at for chain in chains],
        [chain.ended for chain in chains],
    )
