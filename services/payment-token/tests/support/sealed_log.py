"""A sealed audit log in a database, made by its owner: records of any month, seals, tiles and chains, without the service."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payment_token.domain.audit import Actor, AuditEvent, Chain, EventKind, Outcome
from payment_token.domain.audit_archive.growing_tree import GrowingTree
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.sealed_log import Entry
from payment_token.domain.keys import NamedKey
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.transparency.hashes import leaf_hash

ORIGIN = "payment-token/test/decrypt-audit"
RECORDER = Actor("service:test", "here pid 1")

_SEAL = """
INSERT INTO audit_seals (tree_size, first_index, root, sealed_at, writer_ids, first_sequences, last_sequences,
                         checkpoint, signing_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_CHAIN = """
INSERT INTO audit_chains (writer_id, sealed_sequence, sealed_hash, opened_at, ended) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (writer_id) DO UPDATE SET sealed_sequence = excluded.sealed_sequence,
                                      sealed_hash = excluded.sealed_hash, ended = excluded.ended
"""


def happened(kind: EventKind = EventKind.DECRYPT, **members: object) -> AuditEvent:
    outcome = Outcome.RELEASED if kind is EventKind.DECRYPT else Outcome.DONE
    return AuditEvent(kind, outcome, RECORDER, **members)  # type: ignore[arg-type]


@dataclass
class WritingProcess:
    """A writer, and what it has recorded that is not sealed yet."""

    opened_at: datetime
    chain: Chain = field(default_factory=lambda: Chain(uuid4()))
    waiting: list[tuple[Entry, bytes]] = field(default_factory=list)


class SealedLogMaker:
    def __init__(self, url: str, origin: str = ORIGIN) -> None:
        self._url = url
        self._origin = origin
        self._writers: dict[UUID, WritingProcess] = {}
        self.tree = GrowingTree()
        self.use_key(Ed25519PrivateKey.generate())

    def use_key(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = private.public_key().public_bytes_raw()

    @property
    def private_key(self) -> NamedKey:
        return NamedKey("v1", SecretKey(self._private.private_bytes_raw()))

    @property
    def key_id(self) -> bytes:
        return sha256(self._origin.encode() + b"\n\x01" + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        public = b64encode(b"\x01" + self.public_key).decode()
        return f"{self._origin}+{self.key_id.hex()}+{public}"

    def write(
        self,
        at: datetime,
        events: Sequence[AuditEvent],
        writer: WritingProcess | None = None,
    ) -> WritingProcess:
        """One more record for each event, a millisecond apart; a new writer opens the log first."""
        if writer is None:
            writer = WritingProcess(at)
            self._writers[writer.chain.writer_id] = writer
            events = [happened(EventKind.LOG_OPENED), *events]
        with psycopg.connect(self._url) as database:
            database.execute("SELECT make_audit_partition(%s)", (Month.of(at).first_day,))
            with database.cursor().copy(
                "COPY decrypt_audit_log (month, writer_id, sequence, recorded_at, record) FROM STDIN"
            ) as copy:
                for number, event in enumerate(events):
                    time = at + timedelta(milliseconds=number)
                    (record,) = writer.chain.draft([event], time)
                    writer.chain.advance(record)
                    entry = Entry(
                        record.writer_id, record.sequence, time, record.text.encode("ascii")
                    )
                    copy.write_row(
                        (
                            entry.month.first_day,
                            entry.writer_id,
                            entry.sequence,
                            entry.recorded_at,
                            record.text,
                        )
                    )
                    writer.waiting.append((entry, record.hash))
        return writer

    def seal(self, at: datetime) -> int:
        """Whatever waits. Returns the size of the tree."""
        first_index = self.tree.size
        runs = []
        with psycopg.connect(self._url) as database:
            for writer in self._writers.values():
                if not writer.waiting:
                    continue
                for entry, _ in writer.waiting:
                    for tile in self.tree.add(leaf_hash(entry.bytes)):
                        database.execute(
                            "INSERT INTO audit_tiles (level, tile, hashes) VALUES (%s, %s, %s)",
                            (tile.place.level, tile.place.index, tile.hashes),
                        )
                (first, _), (last, last_hash) = writer.waiting[0], writer.waiting[-1]
                ended = b'"event":"log_closed"' in last.record
                runs.append((writer.chain.writer_id, first.sequence, last.sequence))
                database.execute(
                    _CHAIN,
                    (
                        writer.chain.writer_id,
                        last.sequence,
                        last_hash,
                        writer.opened_at,
                        ended,
                    ),
                )
                writer.waiting = []
            size, root = self.tree.size, self.tree.root()
            writers, firsts, lasts = (list(column) for column in zip(*runs, strict=True))
            row = (size, first_index, root, at, writers, firsts, lasts, self.note(size, root), "v1")
            database.execute(_SEAL, row)
        return self.tree.size

    def note(self, size: int, root: bytes) -> str:
        return self.signed(f"{self._origin}\n{size}\n{b64encode(root).decode()}\n")

    def signed(self, text: str) -> str:
        signature = b64encode(self.key_id + self._private.sign(text.encode())).decode()
        return f"{text}\n— {self._origin} {signature}\n"

    async def sign(self, text: str) -> str:
        return self.signed(text)

    def month(self, month: str, records: int, *, seals: int = 3) -> int:
        """A writer's month: records over it, sealed in so many pieces."""
        first = datetime.fromisoformat(f"{month}-10T12:00:00+00:00")
        writer = None
        for number in range(seals):
            at = first + timedelta(days=number)
            count = (number + 1) * records // seals - number * records // seals
            writer = self.write(at, [happened()] * count, writer)
            self.seal(at + timedelta(seconds=count // 1000 + 1))
        return self.tree.size
