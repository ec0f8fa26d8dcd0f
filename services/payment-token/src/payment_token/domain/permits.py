"""How often a caller may come: permits for requests, of which so many become free each second.

They collect up to ``burst``; who finds none is told when the next one is free. All processes of a deployment draw on one
supply, so that a rate means the same with one worker and with ten.
"""

from dataclasses import dataclass
from typing import Protocol

MOST_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` is how many requests may come at once, after a pause."""

    per_second: int
    burst: int

    def __post_init__(self) -> None:
        if not (1 <= self.per_second <= MOST_PER_SECOND and 1 <= self.burst <= MOST_PER_SECOND):
            raise ValueError(f"a rate and its burst are 1 to {MOST_PER_SECOND} requests")

    def __str__(self) -> str:
        return f"{self.per_second}/s, burst {self.burst}"


class Permits(Protocol):
    async def take(self, holder: str, rate: Rate | None) -> None:
        """One permit of the holder's; without a rate there are always some.

        Raises RateLimitedError, which says when to come again, and DatabaseUnavailableError.
        """
        ...
