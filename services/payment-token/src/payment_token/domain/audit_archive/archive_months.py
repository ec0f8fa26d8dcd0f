"""Archive: closed months get into the archive, are verified there, and leave the database when they are old enough.

1. whatever is sealed is exported, and each closed month gets its manifest
2. if there is anything to note or to take out of the database, the independent verifier looks at all of the archive
3. a closed month that is not noted yet is noted
4. a month past the hot period is counted, here and there, and taken out of the database

Each closed month, and each that left the database, is a record of the log. What was interrupted goes on with the next run.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.audit_archive.close_months import CloseMonths
from payment_token.domain.audit_archive.count_month import archived_records_of
from payment_token.domain.audit_archive.export_log import ExportLog, Report
from payment_token.domain.audit_archive.layout import WIDTH, ArchiveError, manifest_path
from payment_token.domain.audit_archive.manifest import Manifest
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.months_of_archive import end_of_month
from payment_token.domain.audit_archive.ports import (
    Archive,
    ArchiveVerifier,
    ExportRegister,
    MonthPartitions,
)
from payment_token.domain.audit_archive.position import archived_position
from payment_token.domain.audit_archive.retention import Retention
from payment_token.domain.ports import AuditLog


@dataclass(frozen=True, slots=True)
class Step:
    """What was done with a month, for the operator."""

    month: Month
    done: str


class ArchiveMonths:
    def __init__(
        self,
        *,
        archive: Archive,
        export: ExportLog,
        close: CloseMonths,
        verify: ArchiveVerifier,
        register: ExportRegister,
        partitions: MonthPartitions,
        audit_log: AuditLog,
        operator: Actor,
        retention: Retention,
    ) -> None:
        self._archive = archive
        self._export = export
        self._close = close
        self._verify = verify
        self._register = register
        self._partitions = partitions
        self._audit_log = audit_log
        self._operator = operator
        self._retention = retention

    async def __call__(self, now: datetime, report: Report) -> AsyncIterator[Step]:
        """Raises ArchiveError where a month cannot go on; the months before it are done."""
        # 1.
        await self._export(report)
        for month in await self._close.due(now):
            await self._close(month)
            yield Step(month, "closed")
        noted = await self._verified_months()
        new = [month for month in self._archive.months() if month not in noted]
        leaving = [
            month
            for month in await self._partitions.present()
            if self._retention.leaves_database(month, now) and not self._is_at_the_edge(month)
        ]
        # 2. What leaves the database today may have been noted a year ago.
        if new or leaving:
            await self._verify(self._archive.location)
        # 3.
        for month in new:
            yield await self._note(month)
        # 4.
        for month in leaving:
            yield await self._detach(month)

    def _is_at_the_edge(self, month: Month) -> bool:
        """Of a log that hardly grows: the sealer needs the records below the last tile until the tile is full."""
        if month not in self._archive.months():
            return False
        size = archived_position(self._archive).size
        return end_of_month(self._archive, month) > size - size % WIDTH

    async def _verified_months(self) -> set[Month]:
        return {
            export.month
            for export in await self._register.noted()
            if export.verified_at is not None
        }

    async def _note(self, month: Month) -> Step:
        manifest = self._manifest(month)
        # Recorded first: the log may tell of a month that is noted only by the next run, and never leaves one out.
        await self._record(EventKind.MONTH_ARCHIVED, month, manifest)
        await self._register.note_verified(manifest)
        return Step(month, f"verified in the archive: {manifest.records:,} records")

    async def _detach(self, month: Month) -> Step:
        months = self._archive.months()
        if months and month < months[0] and not await self._partitions.count(month):
            # Made ahead for a log that began later.
            await self._partitions.drop(month)
            return Step(month, "left the database: it was empty")
        if month not in await self._verified_months():
            raise ArchiveError(f"{month} is not in this archive: it stays in the database")
        manifest = self._manifest(month)
        archived = archived_records_of(self._archive, month)
        stored = await self._partitions.count(month)
        if archived != stored:
            raise ArchiveError(
                f"the database has {stored:,} records of {month}, and the archive {archived:,}: the month stays in the"
                " database until somebody has found out why"
            )
        await self._record(EventKind.MONTH_DETACHED, month, manifest)
        await self._partitions.drop(month)
        await self._register.note_detached(month)
        return Step(month, f"left the database: {stored:,} records")

    def _manifest(self, month: Month) -> Manifest:
        text = self._archive.read(manifest_path(month))
        if text is None:
            raise ArchiveError(f"{month} is not in the archive, or not closed yet")
        return Manifest.parse(text)

    async def _record(self, kind: EventKind, month: Month, manifest: Manifest) -> None:
        details: dict[str, str | int] = {
            "month": str(month),
            "first_index": manifest.first_index,
            "last_index": manifest.last_index,
            "root": manifest.root.hex(),
            "manifest_sha256": manifest.sha256.hex(),
            "location": self._archive.location,
        }
        await self._audit_log.record(
            AuditEvent(kind, Outcome.DONE, self._operator, details=details)
        )
