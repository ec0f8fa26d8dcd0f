"""A calendar month of the log, in UTC: that of ``recorded_at``, which the database gives."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from payment_token.domain.operator_error import OperatorError

DAYS_UNTIL_CLOSED = 3
"""After its end: by then whatever was recorded in the month is sealed, or somebody has heard why it is not."""

_FORM = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_MONTHS = 12


@dataclass(frozen=True, slots=True, order=True)
class Month:
    first_day: date

    @classmethod
    def of(cls, time: datetime) -> Self:
        return cls(time.astimezone(UTC).date().replace(day=1))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises OperatorError for what is not YYYY-MM."""
        match = _FORM.fullmatch(text)
        if match is None or match[1] == "0000":
            raise OperatorError("a month is written YYYY-MM, for example 2027-03")
        return cls(date(int(match[1]), int(match[2]), 1))

    def __str__(self) -> str:
        return f"{self.first_day:%Y-%m}"

    def later(self, months: int) -> "Month":
        number = self.first_day.year * _MONTHS + self.first_day.month - 1 + months
        return Month(date(number // _MONTHS, number % _MONTHS + 1, 1))

    @property
    def next(self) -> "Month":
        return self.later(1)

    @property
    def end(self) -> datetime:
        """The first moment that is not in it."""
        following = self.next.first_day
        return datetime(following.year, following.month, 1, tzinfo=UTC)

    @property
    def closes_at(self) -> datetime:
        return self.end + timedelta(days=DAYS_UNTIL_CLOSED)

    def is_closed(self, now: datetime) -> bool:
        return now >= self.closes_at
