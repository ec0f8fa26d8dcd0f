"""A supply of permits in memory, on a clock that a test sets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from payment_token.domain.permits import Rate
from payment_token.infrastructure.leased_permits import Lease


@dataclass
class MemoryPermitStore:
    """A bucket that is counted in permits, where PostgreSQL has a moment."""

    clock: Callable[[], float]
    leases: list[int] = field(default_factory=list)
    _free: dict[str, tuple[float, float]] = field(default_factory=dict)

    async def lease(self, holder: str, rate: Rate, wanted: int) -> Lease:
        await asyncio.sleep(0)
        now = self.clock()
        before, at = self._free.get(holder, (float(rate.burst), now))
        free = min(float(rate.burst), before + (now - at) * rate.per_second)
        granted = min(wanted, int(free + 1e-9))
        self.leases.append(granted)
        self._free[holder] = (free - granted, now)
        return Lease(granted, max(0.0, (1 - (free - granted)) / rate.per_second))
