"""Records, seals, tiles and chains from an archive come back into the tables, as they were: by the owner, in a transaction."""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from psycopg import AsyncConnection

from payment_token.domain.audit_archive.growing_tree import Tile
from payment_token.domain.audit_archive.sealed_log import Entry, SealedSeal
from payment_token.domain.recovery.comparison import RecoveryError

_ROWS_AT_ONCE = 5_000

_ARRIVING = """
CREATE TEMPORARY TABLE arriving (month date, writer_id uuid, sequence bigint, recorded_at timestamptz, record text)
    ON COMMIT DROP
"""

_COPY = "COPY arriving (month, writer_id, sequence, recorded_at, record) FROM STDIN"

_MAKE_PARTITIONS = (
    "SELECT make_audit_partition(month) FROM (SELECT DISTINCT month FROM arriving) AS months"
)

# What was recorded and not sealed yet when the backup was taken is there already.
_INSERT = """
INSERT INTO decrypt_audit_log (month, writer_id, sequence, recorded_at, record)
SELECT month, writer_id, sequence, recorded_at, record FROM arriving
    ON CONFLICT DO NOTHING
"""

_OTHERS = """
SELECT arriving.writer_id, arriving.sequence
  FROM arriving JOIN decrypt_audit_log AS logged USING (writer_id, sequence)
 WHERE (logged.month, logged.recorded_at, logged.record)
       IS DISTINCT FROM (arriving.month, arriving.recorded_at, arriving.record)
 LIMIT 1
"""

_SEAL = """
INSERT INTO audit_seals (tree_size, first_index, root, sealed_at, writer_ids, first_sequences, last_sequences,
                         checkpoint, signing_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_CHAIN = """
INSERT INTO audit_chains (writer_id, sealed_sequence, sealed_hash, opened_at, ended)
VALUES (%(writer_id)s, %(sequence)s, %(hash)s,
        coalesce(%(opened_at)s, (SELECT min(recorded_at) FROM decrypt_audit_log
                                  WHERE writer_id = %(writer_id)s AND sequence = 0)), %(ended)s)
    ON CONFLICT (writer_id) DO UPDATE
   SET sealed_sequence = excluded.sealed_sequence, sealed_hash = excluded.sealed_hash, ended = excluded.ended
"""

_TILE = "INSERT INTO audit_tiles (level, tile, hashes) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

_SIGNING_KEYS = """
SELECT version, public_key FROM encryption_keys WHERE purpose = 'audit-signing' AND public_key IS NOT NULL
"""

_LOG_CLOSED = b'"event":"log_closed"'


@dataclass(slots=True)
class _Chain:
    sequence: int
    hash: bytes
    opened_at: datetime | None
    ended: bool


async def put_back_seals(
    connection: AsyncConnection, sealed: Iterator[tuple[SealedSeal, Sequence[Entry]]]
) -> int:
    """Returns how many records were not there. Raises RecoveryError where another record stands in the place of one."""
    await connection.execute(_ARRIVING)
    signers = await _signers(connection)
    chains: dict[UUID, _Chain] = {}
    waiting: list[Entry] = []
    put_back = 0
    for seal, entries in sealed:
        waiting += entries
        for entry in entries:
            _follow(chains, entry)
        if len(waiting) >= _ROWS_AT_ONCE:
            put_back += await _insert(connection, waiting)
            waiting = []
        await _insert_seal(connection, seal, signers)
    put_back += await _insert(connection, waiting)
    for writer_id, chain in chains.items():
        row = {
            "writer_id": writer_id,
            "sequence": chain.sequence,
            "hash": chain.hash,
            "opened_at": chain.opened_at,
            "ended": chain.ended,
        }
        await connection.execute(_CHAIN, row)
    return put_back


async def put_back_tiles(connection: AsyncConnection, tiles: Iterator[Tile]) -> None:
    for tile in tiles:
        await connection.execute(_TILE, (tile.place.level, tile.place.index, tile.hashes))


async def _insert(connection: AsyncConnection, entries: Sequence[Entry]) -> int:
    async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for entry in entries:
            await copy.write_row(
                (
                    entry.month.first_day,
                    entry.writer_id,
                    entry.sequence,
                    entry.recorded_at,
                    entry.record.decode(),
                )
            )
    await connection.execute(_MAKE_PARTITIONS)
    inserted = (await connection.execute(_INSERT)).rowcount
    other = await (await connection.execute(_OTHERS)).fetchone()
    if other is not None:
        raise RecoveryError(
            f"the database has another record {other[1]} of writer {other[0].hex} than the archive: one was changed"
        )
    await connection.execute("TRUNCATE arriving")
    return inserted


def _follow(chains: dict[UUID, _Chain], entry: Entry) -> None:
    known = chains.get(entry.writer_id)
    opened_at = None if known is None else known.opened_at
    if entry.sequence == 0:
        opened_at = entry.recorded_at
    record_hash = sha256(entry.record).digest()
    ended = _LOG_CLOSED in entry.record
    chains[entry.writer_id] = _Chain(entry.sequence, record_hash, opened_at, ended)


async def _insert_seal(
    connection: AsyncConnection, sealed: SealedSeal, signers: dict[bytes, tuple[str, bytes]]
) -> None:
    seal = sealed.seal
    row = (
        seal.tree_size,
        seal.first_index,
        sealed.root,
        seal.sealed_at,
        [run.writer_id for run in seal.runs],
        [run.first for run in seal.runs],
        [run.last for run in seal.runs],
        sealed.checkpoint,
        _signer(sealed.checkpoint, signers),
    )
    await connection.execute(_SEAL, row)


async def _signers(connection: AsyncConnection) -> dict[bytes, tuple[str, bytes]]:
    cursor = await connection.execute(_SIGNING_KEYS)
    return {public_key: (version, public_key) for version, public_key in await cursor.fetchall()}


def _signer(note: str, signers: dict[bytes, tuple[str, bytes]]) -> str:
    """The version whose key id stands before the signature, else that id: a key that the restored database never had."""
    name, _, signature = (
        note.rstrip("\n").rpartition("\n")[2].removeprefix("\u2014 ").partition(" ")
    )
    key_id = b64decode(signature)[:4]
    for version, public_key in signers.values():
        if sha256(name.encode() + b"\n\x01" + public_key).digest()[:4] == key_id:
            return version
    return f"key {key_id.hex()}"
