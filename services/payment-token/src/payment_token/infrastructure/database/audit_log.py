"""The decrypt audit log in PostgreSQL. The contract is :class:`payment_token.domain.ports.AuditLog`."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from payment_token.domain.audit import DecryptEvent
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.ports import TokenChangedError
from payment_token.infrastructure.database.columns import columns
from payment_token.infrastructure.database.faults import batch_connection_of, connection_of
from payment_token.infrastructure.database.group_commit import UNDECIDED, GroupCommit, Undecided
from payment_token.infrastructure.database.partitions import on_day
from payment_token.infrastructure.database.pool import Pool

_RECORD: dict[str, str] = {
    "event_id": "uuid",
    "event_time": "timestamptz",
    "outcome": "text",
    "code": "text",
    "worker_identity": "text",
    "certificate_sha256": "bytea",
    "source": "text",
    "request_id": "text",
    "merchant_id": "text",
    "token_id": "text",
    "purpose": "text",
    "fields": "text",  # joined by commas: arrays of arrays would have to be of one length
    "key_name": "text",
}
_COLUMNS = ", ".join(_RECORD)

_ARRIVED = f"""
unnest({", ".join(f"%b::{kind}[]" for kind in _RECORD.values())}, %b::boolean[])
    AS arrived ({_COLUMNS}, with_sad)
"""

_AS_STORED = _COLUMNS.replace("fields", "string_to_array(fields, ',')")

_INSERT_REFUSALS = f"""
INSERT INTO decrypt_audit_log ({_COLUMNS})
SELECT {_AS_STORED} FROM {_ARRIVED} RETURNING event_id
"""

# For tokens of one purge day, which all lie in one partition. The share lock makes a revocation, and the end of SAD,
# wait for this transaction or win against it: never both.
_INSERT_RELEASES = f"""
WITH arrived AS (
    SELECT * FROM {_ARRIVED}
), live AS MATERIALIZED (
    SELECT merchant_id, token_id,
           coalesce(sad_deadline > clock_timestamp() AND sad_destroyed_at IS NULL, false) AS sad_is_live
      FROM payment_tokens
     WHERE purge_day = {{day}} AND (merchant_id, token_id) IN (SELECT merchant_id, token_id FROM arrived)
       AND status = 'active' AND expires_at > clock_timestamp()
       FOR SHARE
)
INSERT INTO decrypt_audit_log ({_COLUMNS})
SELECT {_AS_STORED}
  FROM arrived JOIN live USING (merchant_id, token_id)
 WHERE sad_is_live OR NOT with_sad
RETURNING event_id
"""

# A batch passes over a token that somebody is just changing; that release waits for it by itself.
_INSERT_RELEASES_TOGETHER = _INSERT_RELEASES.replace("FOR SHARE", "FOR SHARE SKIP LOCKED")

_CAN_WRITE = "SELECT has_table_privilege('decrypt_audit_log', 'INSERT') AND NOT pg_is_in_recovery()"

_LATEST = """
SELECT recorded_at, outcome, code, worker_identity, merchant_id, token_id, purpose, fields
  FROM decrypt_audit_log ORDER BY recorded_at DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What a person wants to see of a record."""

    recorded_at: datetime
    outcome: str
    code: str
    worker_identity: str
    merchant_id: str | None
    token_id: str | None
    purpose: str | None
    fields: list[str]


@dataclass(frozen=True, slots=True)
class _Record:
    """A record to write. ``purge_day`` is the token's of a release, ``None`` of a refusal."""

    event: DecryptEvent
    with_sad: bool
    purge_day: date | None


class PostgresAuditLog:
    """For one event loop."""

    def __init__(self, pool: Pool, batches: Pool) -> None:
        self._pool = pool
        self._batches = batches
        self._write = GroupCommit(self._write_many, self._write_one)

    async def record_refusal(self, event: DecryptEvent) -> None:
        with _failures_named():
            await self._write(_Record(event, with_sad=False, purge_day=None))

    async def record_release(self, event: DecryptEvent, *, with_sad: bool) -> None:
        if event.merchant_id is None or event.token_id is None:
            raise ValueError("a release names its merchant and token")
        with _failures_named():
            written = await self._write(_Record(event, with_sad, event.token_id.purge_day))
        if not written:
            raise TokenChangedError

    async def latest(self, count: int) -> list[AuditRow]:
        """The last records, the newest first."""
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=class_row(AuditRow))
            await cursor.execute(_LATEST, (count,))
            return await cursor.fetchall()

    async def check_writable(self) -> None:
        """Raises AuditUnavailableError unless this login may insert, on a server that takes writes."""
        with _failures_named():
            async with connection_of(self._pool) as connection:
                cursor = await connection.execute(_CAN_WRITE)
                if await cursor.fetchone() != (True,):
                    raise AuditUnavailableError

    async def _write_many(self, records: Sequence[_Record]) -> Sequence[bool | Undecided]:
        by_day = _by_day(records)
        written: set[UUID] = set()
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(batch_connection_of(self._batches))
            if len(by_day) > 1:
                # A batch is all or nothing, or what is done again would stand there twice.
                await stack.enter_async_context(connection.transaction())
            for day, of_day in by_day.items():
                written |= await _insert(connection, of_day, day, _INSERT_RELEASES_TOGETHER)
        return [True if record.event.event_id in written else UNDECIDED for record in records]

    async def _write_one(self, record: _Record) -> bool:
        async with connection_of(self._pool) as connection:
            return bool(await _insert(connection, [record], record.purge_day, _INSERT_RELEASES))


def _by_day(records: Sequence[_Record]) -> dict[date | None, list[_Record]]:
    by_day: dict[date | None, list[_Record]] = defaultdict(list)
    for record in records:
        by_day[record.purge_day].append(record)
    return by_day


async def _insert(
    connection: AsyncConnection,
    records: Sequence[_Record],
    day: date | None,
    releases: LiteralString,
) -> set[UUID]:
    """The ids of the records that were written; of a release whose token is not live, none is."""
    arrived = columns((*_RECORD.values(), "boolean"), map(_row, records))
    cursor = connection.cursor(binary=True)
    statement = _INSERT_REFUSALS.encode() if day is None else on_day(releases, day)
    await cursor.execute(statement, arrived, prepare=True)
    return {row[0] for row in await cursor.fetchall()}


@contextmanager
def _failures_named() -> Iterator[None]:
    failed = False
    try:
        yield
    except PaymentTokenError:
        failed = True
    if failed:
        raise AuditUnavailableError


def _row(record: _Record) -> tuple[object, ...]:
    event = record.event
    return (
        event.event_id,
        event.event_time,
        event.outcome.value,
        event.code,
        event.worker.identity,
        event.worker.certificate_sha256,
        event.worker.source,
        event.request_id,
        event.merchant_id,
        None if event.token_id is None else event.token_id.text,
        event.purpose,
        ",".join(sorted(event.fields)),
        event.key_name,
        record.with_sad,
    )
