"""End overdue SAD: what no worker has completed is shredded soon after its deadline (PCI DSS 4.0.1, 3.3.1).

It was released to nobody since its deadline. Its sealed bytes go as well, so that nothing is left to open in what is copied
from now on.

1. one process at a time; whoever comes second does nothing
2. find the purge days of tokens whose SAD is overdue
3. of each, shred what is overdue, the oldest first, in batches

It may be stopped at any moment and started again. What a release or a completion holds just now is left for the next run.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

_IN_A_BATCH = 1_000
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class EndedSAD:
    """Of how many tokens, and how late after its deadline the oldest of it."""

    tokens: int = 0
    latest: timedelta = timedelta(0)

    def and_also(self, other: "EndedSAD") -> "EndedSAD":
        return EndedSAD(self.tokens + other.tokens, max(self.latest, other.latest))


class OverdueSAD(Protocol):
    """Any method may raise DatabaseUnavailableError."""

    async def purge_days(self) -> Sequence[date]: ...

    async def end(self, purge_day: date, limit: int) -> EndedSAD:
        """The next ones, in one transaction. Skips those in use."""
        ...


class OverdueSADs(Protocol):
    def alone(self) -> AbstractAsyncContextManager[OverdueSAD | None]:
        """``None`` while another process is at it. Nobody else is until the block ends."""
        ...


class EndOverdueSAD:
    def __init__(self, overdue: OverdueSADs) -> None:
        self._overdue = overdue

    async def __call__(self) -> EndedSAD | None:
        """``None`` when another process is at it already. Raises MaintenanceError, DatabaseUnavailableError."""
        # 1.
        async with self._overdue.alone() as overdue:
            if overdue is None:
                return None
            ended = EndedSAD()
            # 2.
            for purge_day in await overdue.purge_days():
                # 3.
                ended = ended.and_also(await _end(overdue, purge_day))
            return ended


async def _end(overdue: OverdueSAD, purge_day: date) -> EndedSAD:
    ended = EndedSAD()
    while True:
        batch = await overdue.end(purge_day, _IN_A_BATCH)
        ended = ended.and_also(batch)
        if batch.tokens < _IN_A_BATCH:
            return ended
        await asyncio.sleep(_PAUSE_SECONDS)
