"""Rows of a made log, sealed by the product's own sealer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import psycopg

from payment_token.domain.keys import NamedKey
from payment_token.domain.log_sealing import seal_log
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from tests.support.made_logs import KEY, ORIGIN, MadeLog, MadeRow, MadeSeal


class OneKey:
    """Meets the port VersionedKeys."""

    _key = NamedKey("v1", SecretKey(KEY.private_bytes_raw()))

    async def active(self) -> NamedKey:
        return self._key

    async def named(self, name: str) -> NamedKey | None:
        return self._key if name == self._key.name else None


async def seal_everything(url: str, of_a_seal: int) -> None:
    """In seals of about so many records."""
    with _smaller_seals(of_a_seal):
        async with PostgresSealedLogs(url).alone() as log:
            assert log is not None
            seal = await seal_log.SealLog.begun(log, [], ORIGIN, OneKey())
            while (await seal()).records:
                pass
            assert not seal.refused


@contextmanager
def _smaller_seals(records: int) -> Iterator[None]:
    with mock.patch.object(seal_log, "MOST_RECORDS", records):
        yield


def read_sealed(database: psycopg.Connection, made: list[MadeRow]) -> MadeLog:
    """The log as the sealer has made it of these rows, in the order of its leaves."""
    rows = {(row.writer_id, row.sequence): row for row in made}
    log = MadeLog()
    for size, first, root, at, writers, firsts, lasts, note, key in database.execute(
        "SELECT * FROM audit_seals ORDER BY tree_size"
    ):
        runs = list(zip((writer.hex for writer in writers), firsts, lasts, strict=True))
        log.rows += [rows[writer, n] for writer, low, high in runs for n in range(low, high + 1)]
        log.seals.append(MadeSeal(first, size, root, at, runs, note, key))
    tiles = database.execute("SELECT level, tile, hashes FROM audit_tiles").fetchall()
    chains = database.execute(
        "SELECT writer_id, sealed_sequence, sealed_hash, ended FROM audit_chains"
    ).fetchall()
    return replace(
        log,
        tiles={(level, tile): hashes for level, tile, hashes in tiles},
        chains=[(writer.hex, *rest) for writer, *rest in chains],
    )
