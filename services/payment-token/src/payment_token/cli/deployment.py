"""The deployment that a command works on: its settings, and its database once a command needs it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import TypeVar

from payment_token.bootstrap.audit import opened_audit_log, this_operator
from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.key_life import KeyLife
from payment_token.bootstrap.keys import Keys
from payment_token.cli.env_file import chosen_env_file
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database import schema
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.clock import SYNC_INTERVAL_SECONDS, DatabaseClock
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.settings import Settings

Result = TypeVar("Result")


def load_settings() -> Settings:
    return Settings.load(chosen_env_file())


def database_url(settings: Settings, *, migrated: bool = False) -> str:
    """The database of this deployment, running; in development also migrated to the newest schema.

    ``migrated`` says that it is already.
    """
    # A command that holds the embedded server ends by the normal way, so that the last one out stops it.
    signal.signal(signal.SIGTERM, _exit_normally)
    url = deployment_url(settings)
    if settings.in_development and not migrated and not schema.is_newest(url):
        from payment_token.infrastructure.database import migration

        migration.upgrade(url)
    return url


def with_pool(settings: Settings, work: Callable[[Pool], Awaitable[Result]]) -> Result:
    """Runs ``work`` with connections to the deployment's database."""
    url = database_url(settings)

    async def run() -> Result:
        async with new_pool(url) as pool:
            return await work(pool)

    return asyncio.run(run())


def with_custody(
    settings: Settings, work: Callable[[Pool, Custodians], Awaitable[Result]]
) -> Result:
    """Runs ``work`` with the database and with the custodians of the deployment's keys."""
    forbid_core_dumps()

    async def run(pool: Pool) -> Result:
        custodians = Custodians(settings)
        try:
            return await work(pool, custodians)
        finally:
            custodians.close()

    return with_pool(settings, run)


def with_audit_log(
    settings: Settings, work: Callable[[Pool, PostgresAuditLog], Awaitable[Result]]
) -> Result:
    """Runs ``work`` with the database and the audit log."""

    async def run(pool: Pool) -> Result:
        async with operators_audit_log(settings, pool) as log:
            return await work(pool, log)

    return with_pool(settings, run)


@asynccontextmanager
async def operators_audit_log(settings: Settings, pool: Pool) -> AsyncIterator[PostgresAuditLog]:
    """As whoever runs the command. Nothing is written before the first event."""
    clock = DatabaseClock(pool)
    await clock.synchronise()
    async with opened_audit_log(deployment_url(settings), pool, clock, this_operator()) as log:
        yield log


def with_key_life(settings: Settings, work: Callable[[KeyLife], Awaitable[Result]]) -> Result:
    """Runs ``work`` with the life of the keys above stored data, and the database's clock kept in step."""
    forbid_core_dumps()
    url = database_url(settings)

    async def run(pool: Pool) -> Result:
        clock = DatabaseClock(pool)
        await clock.synchronise()
        operator = this_operator()
        async with (
            repeated(clock.synchronise, SYNC_INTERVAL_SECONDS),
            opened_audit_log(url, pool, clock, operator) as log,
            Keys.opened(settings, pool, clock, AuditedKeyChanges(log, operator)) as keys,
        ):
            return await work(KeyLife(keys, pool))

    return with_pool(settings, run)


def _exit_normally(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
