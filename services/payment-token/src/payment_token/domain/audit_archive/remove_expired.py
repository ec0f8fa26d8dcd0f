"""Remove: entries of an archive whose retention is over go. The tree stays: what was sealed can be proven for ever.

1. a month may go when it is older than its retention, under no hold, and every month before it has gone
2. the record of it comes first
3. ``minimum-index`` says from which leaf on the archive has entries; then the bundles go

A bundle that the next month needs too stays with it (C2SP tlog-tiles, pruning by a minimum index). The hashes of the leaves
stay, 32 bytes of each: with them the verifier follows the tree from its beginning, and a receipt can still be proven.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.audit_archive.layout import (
    MINIMUM_INDEX,
    REMOVING,
    WIDTH,
    ArchiveError,
    TilePlace,
    partial_places,
)
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.months_of_archive import end_of_month
from payment_token.domain.audit_archive.ports import Archive, HoldRegister
from payment_token.domain.audit_archive.retention import Retention
from payment_token.domain.ports import AuditLog


@dataclass(frozen=True, slots=True)
class Removed:
    """``leaves`` are those whose entries are gone now."""

    month: Month
    leaves: int


class RemoveExpired:
    def __init__(
        self,
        *,
        archive: Archive,
        holds: HoldRegister,
        audit_log: AuditLog,
        operator: Actor,
        retention: Retention,
    ) -> None:
        self._archive = archive
        self._holds = holds
        self._audit_log = audit_log
        self._operator = operator
        self._retention = retention

    async def __call__(self, now: datetime, up_to: Month | None = None) -> AsyncIterator[Removed]:
        """The months that may go, or all up to one that is named. Raises ArchiveError for one that may not go."""
        self._finish()
        holds = await self._holds.all()
        for month in self._present():
            if up_to is not None and month > up_to:
                return
            # 1.
            kept = self._retention.why_kept(month, now, holds)
            if kept is not None:
                if up_to is None and now < self._retention.expires_at(month):
                    return
                raise ArchiveError(f"{kept}. Nothing of it, and of what follows, was removed")
            yield await self._remove(month)

    def _present(self) -> Sequence[Month]:
        begin = self._minimum_index()
        return [
            month for month in self._archive.months() if end_of_month(self._archive, month) > begin
        ]

    async def _remove(self, month: Month) -> Removed:
        begin, end = self._minimum_index(), end_of_month(self._archive, month)
        # 2.
        details: dict[str, str | int] = {
            "month": str(month),
            "minimum_index": end,
            "location": self._archive.location,
            "expired": "entries of the archive",
        }
        await self._audit_log.record(
            AuditEvent(EventKind.MONTH_DETACHED, Outcome.DONE, self._operator, details=details)
        )
        # 3.
        self._archive.write(REMOVING, f"{begin} {end}\n".encode())
        self._finish()
        return Removed(month, end - begin)

    def _finish(self) -> None:
        """Also what an interruption has left."""
        text = self._archive.read(REMOVING)
        if text is None:
            return
        begin, end = map(int, text.split())
        self._archive.write(MINIMUM_INDEX, f"{end}\n".encode())
        going = [TilePlace(0, index) for index in range(begin // WIDTH, end // WIDTH)]
        # With the last bundle of a month that is gone goes what was kept of it as it was at that month's end.
        going += [
            place
            for place in partial_places(begin)
            if place.level == 0 and place.index < end // WIDTH
        ]
        for place in going:
            self._archive.remove(place.entries_path)
        self._archive.remove(REMOVING)

    def _minimum_index(self) -> int:
        text = self._archive.read(MINIMUM_INDEX) or b"0"
        if not text.strip().isdigit():
            raise ArchiveError(f"{MINIMUM_INDEX} of the archive is damaged")
        return int(text)
