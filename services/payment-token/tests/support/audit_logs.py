"""The audit log as a process of the service has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from payment_token.bootstrap.audit import opened_audit_log
from payment_token.domain.audit import Actor
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import Pool
from tests.fakes.memory_audit_log import MemoryAuditLog
from tests.fakes.memory_token_store import MemoryTokenStore

RECORDER = Actor("service:test", "here")


@asynccontextmanager
async def audit_log_of(url: str, pool: Pool) -> AsyncIterator[PostgresAuditLog]:
    clock = DatabaseClock(pool)
    await clock.synchronise()
    async with opened_audit_log(url, pool, clock, RECORDER) as log:
        yield log


def unaudited() -> AuditedKeyChanges:
    """For keys whose changes nobody looks at."""

    def now() -> datetime:
        return datetime.now(UTC)

    log = MemoryAuditLog(MemoryTokenStore(now, timedelta(hours=1)), now)
    return AuditedKeyChanges(log, RECORDER)
