"""Whatever somebody puts into a name, PostgreSQL takes the record and reads it."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
from hypothesis import given, settings

from payment_token.domain.audit import AuditEvent, Chain
from tests.support.audit_events import events
from tests.support.long_form import usual_or_long


def test_any_record_is_taken_and_read(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:

        @settings(max_examples=usual_or_long(400, 10_000))
        @given(events)
        def is_taken_and_read(event: AuditEvent) -> None:
            (record,) = Chain(uuid4()).draft([event], datetime.now(UTC))
            database.execute(
                "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (%s, %s, %s)",
                (record.writer_id, record.sequence, record.text),
            )
            read = database.execute(
                "SELECT token_id, request_id, outcome, event_time FROM audit_records WHERE writer_id = %s"
                " AND identity IS NOT NULL",
                (record.writer_id,),
            ).fetchone()
            token_id = event.token_id and event.token_id.text
            assert read == (token_id, event.request_id, event.outcome, record.time)

        is_taken_and_read()
