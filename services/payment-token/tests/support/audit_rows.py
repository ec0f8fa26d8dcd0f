"""Rows of the audit log in valid chains, written straight into the table: for what reads, seals and verifies them.

It shares no code with the writer of the service. Whatever a test wants to be wrong it says when it writes, or changes
afterwards with :func:`as_superuser`.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg

_INSERT = """
INSERT INTO decrypt_audit_log (month, writer_id, sequence, recorded_at, record)
SELECT date_trunc('month', recorded_at AT TIME ZONE 'UTC')::date, %s, sequence, recorded_at, record
  FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS row (sequence, recorded_at, record)
"""

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class AuditRow:
    writer_id: uuid.UUID
    sequence: int
    recorded_at: datetime
    record: str

    @property
    def entry(self) -> bytes:
        """What is hashed as a leaf."""
        return f"{self.record}\n{self.recorded_at.astimezone(UTC):{_TIME}}".encode("ascii")

    @property
    def record_hash(self) -> bytes:
        return sha256(self.record.encode("ascii")).digest()

    @property
    def receipt(self) -> str:
        return f"ar2.{self.writer_id.hex}.{self.sequence}.{self.record_hash.hex()}"


@dataclass(slots=True)
class ChainOfRows:
    """One writer. ``rows`` are those it wrote, in order."""

    database: psycopg.Connection
    writer_id: uuid.UUID = field(default_factory=uuid.uuid4)
    rows: list[AuditRow] = field(default_factory=list)

    def write(
        self,
        count: int = 1,
        *,
        recorded_at: datetime | None = None,
        happened_at: datetime | None = None,
        **members: Any,
    ) -> Sequence[AuditRow]:
        """The next records, the first of all ``log_opened`` and the others decrypts, but for ``members``.

        They are written a microsecond apart; ``happened_at`` is the event time of the last one.
        """
        last = recorded_at or datetime.now(UTC)
        off = (happened_at or last) - last
        written = []
        for number in range(count):
            at = last - timedelta(microseconds=count - 1 - number)
            row = self._next(at, at + off, members)
            self.rows.append(row)
            written.append(row)
        insert(self.database, written)
        return written

    def close(self) -> AuditRow:
        return self.write(event="log_closed", outcome="done")[0]

    def _next(
        self, recorded_at: datetime, event_time: datetime, members: dict[str, Any]
    ) -> AuditRow:
        sequence = len(self.rows)
        record = {
            "v": 1,
            "code": "ok",
            "event": "decrypt" if sequence else "log_opened",
            "event_time": f"{event_time.astimezone(UTC):{_TIME}}",
            "fields": ["expiry", "pan"],
            "identity": "spiffe://example.org/worker",
            "merchant_id": "m_1",
            "outcome": "released" if sequence else "done",
            "previous": (self.rows[-1].record_hash if self.rows else bytes(32)).hex(),
            "sequence": sequence,
            "token_id": f"pt_{sequence:020d}",
            "writer_id": self.writer_id.hex,
        } | members
        if sequence == 0:
            for name in ("fields", "merchant_id", "token_id"):
                del record[name]
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        return AuditRow(self.writer_id, sequence, recorded_at, text)


def insert(database: psycopg.Connection, rows: Sequence[AuditRow]) -> None:
    """All in one statement, as a writer writes them."""
    for writer_id in {row.writer_id for row in rows}:
        of_writer = [row for row in rows if row.writer_id == writer_id]
        database.execute(
            _INSERT,
            (
                writer_id,
                [row.sequence for row in of_writer],
                [row.recorded_at for row in of_writer],
                [row.record for row in of_writer],
            ),
        )


def written_rows(database: psycopg.Connection) -> list[AuditRow]:
    """Every row of the table, by writer and sequence."""
    found = database.execute(
        "SELECT writer_id, sequence, recorded_at, record FROM decrypt_audit_log ORDER BY 1, 2"
    )
    return [AuditRow(*row) for row in found]


@contextmanager
def as_superuser(database: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Whoever owns the server can change what is append-only for everybody else: triggers do not fire meanwhile."""
    database.execute("SET session_replication_role = replica")
    try:
        yield database
    finally:
        database.execute("RESET session_replication_role")
