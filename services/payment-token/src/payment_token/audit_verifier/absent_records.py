"""Records that seals cover and that are not there: gone with a month that left the database, as the log says, or taken away."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_token.audit_verifier.times import MOST_OUT_OF_ORDER


@dataclass(slots=True)
class Absent:
    """Leaves that follow each other; their records were recorded in one of the ``months``, YYYY-MM."""

    first: int
    last: int
    months: frozenset[str]

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class AbsentRecords:
    def __init__(self) -> None:
        self._ranges: list[Absent] = []

    def add(self, indexes: Sequence[int], before: datetime | None, sealed_at: datetime) -> None:
        """Of one seal; ``before`` is when the seal before it was made."""
        if not indexes:
            return
        begin = sealed_at if before is None else before - MOST_OUT_OF_ORDER
        months = frozenset({f"{begin:%Y-%m}", f"{sealed_at:%Y-%m}"})
        for index in indexes:
            last = self._ranges[-1] if self._ranges else None
            if last is not None and last.last == index - 1 and last.months == months:
                last.last = index
            else:
                self._ranges.append(Absent(index, index, months))

    def taken_away(self, detached_months: Collection[str]) -> Iterator[Absent]:
        return (absent for absent in self._ranges if absent.months.isdisjoint(detached_months))

    def detached(self, detached_months: Collection[str]) -> int:
        return sum(
            absent.count for absent in self._ranges if not absent.months.isdisjoint(detached_months)
        )
