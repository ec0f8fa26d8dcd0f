"""Maintenance as a process of the deployment does it: once for a command, or again and again."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.recorded_purges import RecordedPurges
from payment_token.bootstrap.upkeep_metrics import UpkeepMetrics
from payment_token.domain.end_overdue_sad import EndedSAD, EndOverdueSAD
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.maintain import Maintain, Maintained, MaintenanceError
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.overdue_sad import PostgresOverdueSAD
from payment_token.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
OVERDUE_SAD_SECONDS = 15.0
"""SAD is gone 60 seconds after its deadline at the latest: with time to spare for a run that fails."""

FAILED = "maintenance_failed"
IN_USE = "partitions_in_use"


class Upkeep:
    """Needs no key and no pool of connections: a process that does only this is small."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._maintain = Maintain(
            PostgresMaintenance(database_url),
            RecordedPurges(database_url),
            settings.max_ttl,
            settings.device_events_kept,
        )
        self._end_overdue_sad = EndOverdueSAD(PostgresOverdueSAD(database_url))
        self._metrics = UpkeepMetrics()
        self._failing: dict[str, str] = {}
        self._overdue: dict[str, str] = {}
        self._stands_by = False

    async def run(self) -> Maintained | None:
        """``None`` when another process maintains. Raises MaintenanceError, DatabaseUnavailableError, AuditUnavailableError."""
        return await self._maintain()

    async def end_overdue_sad(self) -> EndedSAD | None:
        """``None`` when another process is at it. Raises MaintenanceError, DatabaseUnavailableError."""
        return await self._end_overdue_sad()

    def register_metrics(self, registry: CollectorRegistry) -> None:
        self._metrics.register_in(registry)

    @asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """Maintains at once and then every minute, and ends overdue SAD more often, while the block runs."""
        async with (
            repeated(self._end_and_count, OVERDUE_SAD_SECONDS, at_once=True),
            repeated(self._run_and_say, INTERVAL_SECONDS, at_once=True),
        ):
            yield

    async def readiness(self) -> dict[str, str]:
        """What went wrong the last time."""
        return self._failing | self._overdue

    async def _end_and_count(self) -> None:
        try:
            ended = await self.end_overdue_sad()
        except PaymentTokenError as error:
            self._overdue = {"overdue_sad": error.code}
            raise
        except MaintenanceError:
            # Maintenance meets the same, and says it.
            self._overdue = {"overdue_sad": FAILED}
            return
        self._overdue = {}
        if ended is not None and ended.tokens:
            self._metrics.note(ended)
            logger.info("overdue SAD ended", extra={"tokens": ended.tokens})

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
        done_something = (
            done.made,
            done.audit_months,
            done.dropped,
            done.keys,
            done.uses,
            done.events,
        )
        if any(done_something):
            logger.info(
                "maintained",
                extra={
                    "partitions_made": done.made,
                    "audit_months_made": done.audit_months,
                    "partitions_dropped": done.dropped,
                    "about_tokens": done.about_tokens,
                    "idempotency_keys": done.keys,
                    "token_uses": done.uses,
                    "device_events": done.events,
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
