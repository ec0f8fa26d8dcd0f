"""A process that releases tokens, and what it promised: each answer with its record, and no record without its answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from payment_token.domain.errors import AuditUnavailableError
from payment_token.domain.token import Token
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.audit_chain import check_chains, check_releases, rows_of
from tests.support.audit_logs import audit_log_of
from tests.support.tokens import new_token, release_of

BOUND_SECONDS = 2.0
# For a machine that is busy.
_SLACK_SECONDS = 0.7
_RECOVERY_SECONDS = 15.0

_KEYS = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)
VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'), ('index', 'v1', 'active', 'local:kek', '', 'test')
"""


@dataclass
class Releasing:
    """``database`` is a login that may do anything, on a way that does not fail."""

    log: PostgresAuditLog
    database: psycopg.Connection
    token: Token
    answered: list[str] = field(default_factory=list)

    async def release(self) -> bool:
        """Whether the card data left. Fails when it takes longer than it may to say so."""
        began = time.monotonic()
        try:
            receipt = await self.log.record_release(release_of(self.token), with_sad=False)
        except AuditUnavailableError:
            return False
        else:
            self.answered.append(str(receipt))
            return True
        finally:
            assert time.monotonic() - began < BOUND_SECONDS + _SLACK_SECONDS

    async def is_ready(self) -> bool:
        try:
            await self.log.check_writable()
        except AuditUnavailableError:
            return False
        return True

    async def recover(self, within: float = _RECOVERY_SECONDS) -> None:
        """Releases go on by themselves, and what stands in the log is whole."""
        deadline = time.monotonic() + within
        while not await self.release():
            assert time.monotonic() < deadline, "there are no releases any more"
            await asyncio.sleep(0.05)
        while not await self.is_ready():
            assert time.monotonic() < deadline, "it does not become ready again"
            await asyncio.sleep(0.05)
        await self.settle()

    async def settle(self) -> None:
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while self.log._chain._has_work or self.log._chain._lane is not None:
            assert time.monotonic() < deadline, "what is in doubt is not settled"
            await asyncio.sleep(0.01)
        self.check()

    def check(self) -> None:
        rows = rows_of(self.database)
        check_chains(rows)
        check_releases(rows, self.answered)

    @property
    def writers(self) -> int:
        (found,) = self.database.execute(
            "SELECT count(DISTINCT writer_id) FROM decrypt_audit_log"
        ).fetchone() or (0,)
        return int(found)


def _now(database: psycopg.Connection) -> datetime:
    (now,) = database.execute("SELECT clock_timestamp()").fetchone() or (None,)
    assert now is not None
    return now.astimezone(UTC)


@asynccontextmanager
async def releasing(
    server_url: str, service_url: str, expires_in: timedelta = timedelta(days=1)
) -> AsyncIterator[Releasing]:
    """``service_url`` is how the process itself comes to the database."""
    with psycopg.connect(server_url, autocommit=True) as database:
        database.execute(_KEYS)
        async with new_pool(server_url) as pool:
            new = new_token(_now(database), ttl=expires_in, sad_ttl=None)
            await PostgresTokenStore(pool, pool, timedelta(hours=1)).create(new)
        async with new_pool(service_url) as pool, audit_log_of(service_url, pool) as log:
            process = Releasing(log, database, new.stored.token)
            # Each connection has its statements by now.
            assert await process.is_ready()
            for _ in range(4):
                assert await process.release()
            yield process
        process.check()
