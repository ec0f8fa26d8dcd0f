"""A purge of expired tokens is in the audit log before it happens."""

from datetime import date

from payment_token.bootstrap.audit import opened_audit_log, this_process
from payment_token.domain.audit import AuditEvent, EventKind, Outcome
from payment_token.domain.maintain import Partition
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool


class RecordedPurges:
    """Connects for each: there is one in a day."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._recorded: set[date] = set()

    async def purging(self, partition: Partition) -> None:
        # One that somebody is at work on is tried again each minute.
        if partition.purge_day in self._recorded:
            return
        process = this_process()
        async with new_pool(self._url) as pool:
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with opened_audit_log(self._url, pool, clock, process) as log:
                await log.record(
                    AuditEvent(
                        EventKind.TOKENS_PURGED,
                        Outcome.DONE,
                        process,
                        details={
                            "purge_day": partition.purge_day.isoformat(),
                            "about_tokens": partition.about_tokens,
                        },
                    )
                )
        self._recorded.add(partition.purge_day)
