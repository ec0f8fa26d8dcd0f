"""Reading the audit log, for people."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_LATEST = """
SELECT recorded_at, event, outcome, code, identity, merchant_id, token_id, purpose,
       array(SELECT jsonb_array_elements_text(fields)) AS fields
  FROM audit_records WHERE event = 'decrypt' ORDER BY recorded_at DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What a person wants to see of a record."""

    recorded_at: datetime
    event: str
    outcome: str
    code: str
    identity: str
    merchant_id: str | None
    token_id: str | None
    purpose: str | None
    fields: list[str]


async def latest_decrypts(pool: Pool, count: int) -> list[AuditRow]:
    """The newest first."""
    async with connection_of(pool) as connection:
        cursor = connection.cursor(row_factory=class_row(AuditRow))
        await cursor.execute(_LATEST, (count,))
        return await cursor.fetchall()
