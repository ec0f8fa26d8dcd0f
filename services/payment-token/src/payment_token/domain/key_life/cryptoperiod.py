"""How long one version may protect what is new (NIST SP 800-57 part 1, 5.3; PCI DSS 3.7.4)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WARN_DAYS = (14, 7, 1)


class Standing(StrEnum):
    CURRENT = "current"
    DUE_SOON = "due soon"
    DUE = "due"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Cryptoperiod:
    """Rotation is due ``length`` after activation. ``grace`` later the version protects nothing new any more."""

    length: timedelta
    grace: timedelta

    def due_at(self, activated_at: datetime) -> datetime:
        return activated_at + self.length

    def closes_at(self, activated_at: datetime) -> datetime:
        return self.due_at(activated_at) + self.grace

    def standing(self, activated_at: datetime, now: datetime) -> Standing:
        if now >= self.closes_at(activated_at):
            return Standing.CLOSED
        if now >= self.due_at(activated_at):
            return Standing.DUE
        if self.warning_days(activated_at, now) is not None:
            return Standing.DUE_SOON
        return Standing.CURRENT

    def warning_days(self, activated_at: datetime, now: datetime) -> int | None:
        """The last of the warning days that has been reached: 14, 7 or 1, then 0 once rotation is due."""
        left = self.due_at(activated_at) - now
        if left <= timedelta(0):
            return 0
        reached = [days for days in WARN_DAYS if left <= timedelta(days=days)]
        return min(reached) if reached else None
