"""Maintenance as a process of the deployment does it: once for a command, or again and again."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.recorded_purges import RecordedPurges
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.maintain import Maintain, Maintained, MaintenanceError
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0

FAILED = "maintenance_failed"
IN_USE = "partitions_in_use"


class Upkeep:
    """Needs no key and no pool of connections: a process that does only this is small."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._maintain = Maintain(
            PostgresMaintenance(database_url), RecordedPurges(database_url), settings.max_ttl
        )
        self._failing: dict[str, str] = {}
        self._stands_by = False

    async def run(self) -> Maintained | None:
        """``None`` when another process maintains. Raises MaintenanceError, DatabaseUnavailableError, AuditUnavailableError."""
        return await self._maintain()

    @asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """Maintains at once and then every minute, while the block runs."""
        async with repeated(self._run_and_say, INTERVAL_SECONDS, at_once=True):
            yield

    async def readiness(self) -> dict[str, str]:
        """What went wrong the last time."""
        return self._failing

    async def _run_and_say(self) -> None:
        try:
            done = await self.run()
        except PaymentTokenError as error:
            self._failing = {"maintenance": error.code}
            raise
        except MaintenanceError as error:
            self._failing = {"maintenance": FAILED}
            logger.error("maintenance failed", extra={"reason": str(error)})
            return
        self._failing = {}
        if done is None and not self._stands_by:
            logger.info("another process maintains the database: standing by")
        self._stands_by = done is None
        if done is not None:
            self._say(done)

    def _say(self, done: Maintained) -> None:
        if done.made or done.audit_months or done.dropped or done.keys or done.uses:
            logger.info(
                "maintained",
                extra={
                    "partitions_made": done.made,
                    "audit_months_made": done.audit_months,
                    "partitions_dropped": done.dropped,
                    "about_tokens": done.about_tokens,
                    "idempotency_keys": done.keys,
                    "token_uses": done.uses,
                },
            )
        if not done.complete:
            self._failing = {"maintenance": IN_USE}
            logger.warning(
                "partitions are in use, and wait for the next run",
                extra={
                    "to_make": [str(day) for day in done.missing],
                    "to_drop": [str(day) for day in done.kept],
                },
            )
