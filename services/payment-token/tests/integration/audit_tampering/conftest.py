"""One log for all modules here, in each process that runs some of them: it takes long to make."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.databases import own_database
from tests.support.long_form import usual_or_long
from tests.support.made_logs import (
    insert_key,
    insert_rows,
    made_log,
)
from tests.support.sealed_for_real import read_sealed, seal_everything
from tests.support.tampered_log import OF_A_SEAL, RECORDS, UNSEALED, SealedLog, middle_of


@pytest.fixture(scope="session")
def sealed(server_url: str, template: str) -> Iterator[SealedLog]:
    """Recorded within the last hour, because the sealer takes nothing older; a month may begin within it."""
    span = timedelta(minutes=usual_or_long(8, 45))
    made = made_log(
        RECORDS, datetime.now(UTC) - span, unsealed=UNSEALED, between=span / (RECORDS + 1000)
    )
    with own_database(server_url, template) as url, psycopg.connect(url) as database:
        insert_rows(database, made.rows[:RECORDS])
        insert_key(database)
        database.commit()
        database.execute("ANALYZE decrypt_audit_log")
        database.commit()
        asyncio.run(seal_everything(url, OF_A_SEAL))
        log = read_sealed(database, made.rows)
        log.rows += made.rows[RECORDS:]
        insert_rows(database, made.rows[RECORDS:])
        # It reads every record as JSON. Whoever changes one into something else drops it first.
        database.execute("DROP INDEX decrypt_audit_log_token_id_idx")
        database.commit()
        yield SealedLog(database, log, middle_of(log))


@pytest.fixture
def log(sealed: SealedLog) -> Iterator[SealedLog]:
    sealed.execute("SET LOCAL session_replication_role = replica")
    yield sealed
    sealed.database.rollback()
