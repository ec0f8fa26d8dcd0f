"""How long a month stays where, and what is held however old it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from payment_token.domain.audit_archive.month import Month

_MONTHS_OF_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class Hold:
    """Keeps the months from ``first`` to ``last``; without them, the whole log."""

    hold_id: str
    reason: str
    placed_by: str
    placed_at: datetime | None = None
    released_at: datetime | None = None
    first: Month | None = None
    last: Month | None = None

    def covers(self, month: Month) -> bool:
        if self.released_at is not None:
            return False
        if self.first is None or self.last is None:
            return True
        return self.first <= month <= self.last


@dataclass(frozen=True, slots=True)
class Retention:
    """A month is in the database for ``hot_months`` after its end, and in the archive for ``years``."""

    hot_months: int
    years: float

    def leaves_database(self, month: Month, now: datetime) -> bool:
        return now >= month.later(self.hot_months).end

    def expires_at(self, month: Month) -> datetime:
        return month.later(ceil(self.years * _MONTHS_OF_A_YEAR)).end

    def why_kept(self, month: Month, now: datetime, holds: Iterable[Hold]) -> str | None:
        """What a person is told of a month that must stay; ``None`` when it may go from the archive."""
        expires_at = self.expires_at(month)
        if now < expires_at:
            return f"{month} is kept until {expires_at:%Y-%m-%d}, for {self.years:g} years"
        for hold in holds:
            if hold.covers(month):
                return f"{month} is under the legal hold {hold.hold_id}: {hold.reason}"
        return None
