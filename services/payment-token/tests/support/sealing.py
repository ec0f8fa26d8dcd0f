"""A log that is sealed on a real database: its writers, its terms, and what an auditor would recompute."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import psycopg

from payment_token.domain.keys import NamedKey
from payment_token.domain.log_sealing.ports import CheckpointPlace
from payment_token.domain.log_sealing.seal_log import Sealed, SealLog
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.hashes import leaf_hash, root_of
from payment_token.domain.transparency.signed_note import VerifierKey
from payment_token.infrastructure.database.audit_sealing import PostgresSealedLogs
from tests.support.audit_rows import ChainOfRows

ORIGIN = "payment-token/test/decrypt-audit"
KEY = NamedKey("v1", SecretKey(bytes(range(32))))
VERIFIER = VerifierKey.of(ORIGIN, KEY)


class OneKey:
    """Meets the port VersionedKeys."""

    async def active(self) -> NamedKey:
        return KEY

    async def named(self, name: str) -> NamedKey | None:
        return KEY if name == KEY.name else None


@dataclass
class SealedDatabase:
    url: str
    database: psycopg.Connection

    def writer(self) -> ChainOfRows:
        return ChainOfRows(self.database)

    @asynccontextmanager
    async def term(self, *places: CheckpointPlace) -> AsyncIterator[SealLog]:
        async with PostgresSealedLogs(self.url).alone() as log:
            assert log is not None
            yield await SealLog.begun(log, places, ORIGIN, OneKey())

    async def seal(self, *places: CheckpointPlace) -> Sealed:
        """One round of a term of its own."""
        async with self.term(*places) as seal:
            return await seal()

    def sealed(self) -> list[tuple[str, int]]:
        """Who wrote the leaves, and as which of their records, in the order of the tree."""
        seals = self.database.execute(
            "SELECT first_index, tree_size, writer_ids, first_sequences, last_sequences"
            "  FROM audit_seals ORDER BY tree_size"
        )
        places: list[tuple[str, int]] = []
        for first_index, tree_size, writers, firsts, lasts in seals:
            assert first_index == len(places)
            for writer, first, last in zip(writers, firsts, lasts, strict=True):
                places += [(writer.hex, sequence) for sequence in range(first, last + 1)]
            assert tree_size == len(places)
        return places

    def check_tree(self) -> int:
        """Recomputes every root from the rows, and every tile; gives the size of the tree."""
        rows = {
            (writer.hex, sequence): f"{record}\n{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
            for writer, sequence, at, record in self.database.execute(
                "SELECT writer_id, sequence, recorded_at, record FROM decrypt_audit_log"
            )
        }
        leaves = [leaf_hash(rows[place].encode()) for place in self.sealed()]
        for size, root, note in self.database.execute(
            "SELECT tree_size, root, checkpoint FROM audit_seals"
        ):
            assert root == root_of(leaves[:size])
            assert Checkpoint.verified(note, ORIGIN, [VERIFIER]) == Checkpoint(ORIGIN, size, root)
        self._check_tiles(leaves)
        return len(leaves)

    def _check_tiles(self, hashes: Sequence[bytes], level: int = 0) -> None:
        tiles = self.database.execute(
            "SELECT tile, hashes FROM audit_tiles WHERE level = %s ORDER BY tile", (level,)
        ).fetchall()
        full = [hashes[start : start + 256] for start in range(0, len(hashes) - 255, 256)]
        assert tiles == [(number, b"".join(tile)) for number, tile in enumerate(full)]
        if full:
            self._check_tiles([root_of(tile) for tile in full], level + 1)

    def chains(self) -> dict[str, tuple[int, bool]]:
        return {
            writer.hex: (sequence, ended)
            for writer, sequence, ended in self.database.execute(
                "SELECT writer_id, sealed_sequence, ended FROM audit_chains"
            )
        }

    def make_partition(self, month: date) -> None:
        self.database.execute("SELECT make_audit_partition(%s)", (month,))


@contextmanager
def sealed_database(url: str) -> Iterator[SealedDatabase]:
    with psycopg.connect(url, autocommit=True) as database:
        yield SealedDatabase(url, database)


def month_of(time: datetime) -> date:
    return time.astimezone(UTC).date().replace(day=1)
