"""Reading the audit log, for people: of what is in the database, not of what was archived."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from payment_token.domain.audit.review import HourOfIdentity
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.key_versions import LET_IT_TAKE_ITS_TIME
from payment_token.infrastructure.database.pool import Pool


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is ``None`` does not matter. ``since`` and ``until`` are of the database's time of recording."""

    since: datetime | None = None
    until: datetime | None = None
    token_id: str | None = None
    merchant_id: str | None = None
    identity: str | None = None
    event: str | None = None
    outcome: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """What a person wants to see of a record, and ``record``, the whole of it. One that was tampered with lacks members."""

    recorded_at: datetime
    writer_id: str
    sequence: int
    event: str | None
    outcome: str | None
    code: str | None
    identity: str | None
    merchant_id: str | None
    token_id: str | None
    purpose: str | None
    fields: list[str]
    record: str


# The month is what tells the partitions apart; the times that people ask by do not.
_CONDITIONS: dict[str, LiteralString] = {
    "since": "recorded_at >= %(since)s AND month >= date_trunc('month', %(since)s AT TIME ZONE 'UTC')",
    "until": "recorded_at < %(until)s AND month <= %(until)s AT TIME ZONE 'UTC'",
    "token_id": "token_id = %(token_id)s",
    "merchant_id": "merchant_id = %(merchant_id)s",
    "identity": "identity = %(identity)s",
    "event": "event = %(event)s",
    "outcome": "outcome = %(outcome)s",
    "code": "code = %(code)s",
}

_SEARCH: LiteralString = """
SELECT recorded_at, writer_id::text, sequence, event, outcome, code, identity, merchant_id, token_id, purpose,
       array(SELECT jsonb_array_elements_text(fields)) AS fields, record
  FROM audit_records WHERE {conditions} ORDER BY recorded_at DESC, writer_id, sequence DESC LIMIT %(limit)s
"""

_HOURS = """
SELECT date_trunc('hour', recorded_at) AS hour, event, identity,
       count(*) FILTER (WHERE outcome = 'released') AS released,
       count(*) FILTER (WHERE outcome = 'refused') AS refused,
       count(*) AS records
  FROM audit_records
 WHERE recorded_at >= %(since)s AND month >= date_trunc('month', %(since)s AT TIME ZONE 'UTC')
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


class AuditSearch:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, query: AuditQuery, limit: int) -> list[FoundRecord]:
        """The newest first."""
        values = {field.name: getattr(query, field.name) for field in fields(query)}
        given: list[LiteralString] = [
            condition for name, condition in _CONDITIONS.items() if values[name] is not None
        ]
        conditions: LiteralString = " AND ".join(given) if given else "true"
        async with connection_of(self._pool) as connection:
            await connection.execute(LET_IT_TAKE_ITS_TIME)
            cursor = connection.cursor(row_factory=class_row(FoundRecord))
            await cursor.execute(
                _SEARCH.replace("{conditions}", conditions), {**values, "limit": limit}
            )
            return await cursor.fetchall()

    async def hours_since(self, since: datetime) -> Sequence[HourOfIdentity]:
        async with connection_of(self._pool) as connection:
            await connection.execute(LET_IT_TAKE_ITS_TIME)
            cursor = connection.cursor(row_factory=class_row(HourOfIdentity))
            await cursor.execute(_HOURS, {"since": since})
            return await cursor.fetchall()
