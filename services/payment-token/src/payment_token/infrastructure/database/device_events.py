"""Events of terminals in PostgreSQL. Equal ones of a minute are one row, whichever process saw them."""

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import LiteralString

from psycopg.rows import DictRow, dict_row

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.recorded_events import CountedEvent, EventQuery, RecordedEvent
from payment_token.infrastructure.database.columns import columns
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

logger = logging.getLogger(__name__)

_KINDS = ("text", "text", "text", "text", "text", "text", "bigint")

# In the order of their names, so that two processes that count up the same rows never wait for each other crosswise.
_WRITE = """
INSERT INTO device_events AS known (kind, merchant_id, device_id, ksn, api_key_id, detail, count)
SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[])
    ON CONFLICT (minute, merchant_id, kind, device_id, api_key_id) DO UPDATE
   SET count = known.count + excluded.count, last_at = clock_timestamp()
"""

# A minute's row counts for a time within that minute.
_CONDITIONS: dict[str, LiteralString] = {
    "merchant_id": "merchant_id = %(merchant_id)s",
    "device_id": "device_id = %(device_id)s",
    "kind": "kind = %(kind)s",
    "since": "minute >= date_trunc('minute', %(since)s::timestamptz) AND last_at >= %(since)s",
    "before": "event_id < %(before)s",
}

_FIND: LiteralString = """
SELECT event_id, kind, merchant_id, device_id, ksn, api_key_id, detail, count, occurred_at, last_at
  FROM device_events WHERE {conditions} ORDER BY event_id DESC LIMIT %(limit)s
"""


class PostgresDeviceEvents:
    """The contracts are :class:`EventStore` and :class:`RecordedEvents`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, counted: Sequence[CountedEvent]) -> None:
        async with connection_of(self._pool) as connection:
            await connection.execute(_WRITE, columns(_KINDS, sorted(map(_row, counted))))

    async def find(self, query: EventQuery, limit: int) -> Sequence[RecordedEvent]:
        values = {field.name: getattr(query, field.name) for field in fields(query)}
        given: list[LiteralString] = [
            condition for name, condition in _CONDITIONS.items() if values[name] is not None
        ]
        conditions: LiteralString = " AND ".join(given) if given else "true"
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_FIND.format(conditions=conditions), {**values, "limit": limit})
            return [_recorded(row) for row in await cursor.fetchall()]


class WrittenDeviceEvents:
    """Of a command, which notes one and ends: it is written at once."""

    def __init__(self, store: PostgresDeviceEvents) -> None:
        self._store = store

    async def note(self, event: DeviceEvent) -> None:
        try:
            await self._store.write([CountedEvent(event, 1)])
        except PaymentTokenError as error:
            logger.warning("device events are lost", extra={"code": error.code})


def _row(counted: CountedEvent) -> tuple[str | int, ...]:
    event = counted.event
    return (
        event.kind.value,
        event.merchant_id,
        event.device_id,
        event.ksn,
        event.api_key_id,
        event.detail,
        counted.count,
    )


def _recorded(row: DictRow) -> RecordedEvent:
    return RecordedEvent(
        event_id=row["event_id"],
        event=DeviceEvent(
            DeviceEventKind(row["kind"]),
            MerchantId(row["merchant_id"]),
            DeviceId(row["device_id"]),
            row["ksn"],
            row["api_key_id"],
            row["detail"],
        ),
        count=row["count"],
        occurred_at=row["occurred_at"],
        last_at=row["last_at"],
    )
