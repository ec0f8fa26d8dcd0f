"""The decrypt audit log in PostgreSQL. The contract is :class:`payment_token.domain.ports.AuditLog`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from payment_token.domain.audit import DecryptEvent
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.ports import TokenChangedError
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# The share lock makes a revocation, and the end of SAD, wait for this transaction or win against it: never both.
_LOCK_WHILE_LIVE = """
SELECT FROM payment_tokens
 WHERE merchant_id = %(merchant_id)s AND purge_day = %(purge_day)s AND token_id = %(token_id)s
   AND status = 'active' AND expires_at > clock_timestamp()
   AND (NOT %(with_sad)s OR (sad_deadline > clock_timestamp() AND sad_destroyed_at IS NULL))
   FOR SHARE
"""

_INSERT = """
INSERT INTO decrypt_audit_log
       (event_id, event_time, outcome, code, worker_identity, certificate_sha256, source, request_id,
        merchant_id, token_id, purpose, fields, key_name)
VALUES (%(event_id)s, %(event_time)s, %(outcome)s, %(code)s, %(worker_identity)s, %(certificate_sha256)s,
        %(source)s, %(request_id)s, %(merchant_id)s, %(token_id)s, %(purpose)s, %(fields)s, %(key_name)s)
"""

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


class PostgresAuditLog:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record_refusal(self, event: DecryptEvent) -> None:
        async with self._audit_connection() as connection:
            await connection.execute(_INSERT, _row(event))

    async def record_release(self, event: DecryptEvent, *, with_sad: bool) -> None:
        if event.merchant_id is None or event.token_id is None:
            raise ValueError("a release names its merchant and token")
        async with self._audit_connection() as connection:
            cursor = await connection.execute(
                _LOCK_WHILE_LIVE,
                {
                    "merchant_id": event.merchant_id,
                    "purge_day": event.token_id.purge_day,
                    "token_id": event.token_id.text,
                    "with_sad": with_sad,
                },
            )
            if cursor.rowcount != 1:
                raise TokenChangedError
            await connection.execute(_INSERT, _row(event))

    async def latest(self, count: int) -> list[AuditRow]:
        """The last records, the newest first."""
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=class_row(AuditRow))
            await cursor.execute(_LATEST, (count,))
            return await cursor.fetchall()

    async def check_writable(self) -> None:
        """Raises AuditUnavailableError unless this login may insert, on a server that takes writes."""
        async with self._audit_connection() as connection:
            cursor = await connection.execute(_CAN_WRITE)
            if await cursor.fetchone() != (True,):
                raise AuditUnavailableError

    @asynccontextmanager
    async def _audit_connection(self) -> AsyncIterator[AsyncConnection]:
        failed = False
        try:
            async with connection_of(self._pool) as connection:
                yield connection
        except PaymentTokenError:
            failed = True
        if failed:
            raise AuditUnavailableError


def _row(event: DecryptEvent) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "event_time": event.event_time,
        "outcome": event.outcome,
        "code": event.code,
        "worker_identity": event.worker.identity,
        "certificate_sha256": event.worker.certificate_sha256,
        "source": event.worker.source,
        "request_id": event.request_id,
        "merchant_id": event.merchant_id,
        "token_id": None if event.token_id is None else event.token_id.text,
        "purpose": event.purpose,
        "fields": sorted(event.fields),
        "key_name": event.key_name,
    }
