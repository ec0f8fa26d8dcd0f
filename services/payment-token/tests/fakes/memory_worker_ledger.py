"""What workers used of their limits, in memory. ``fails`` makes it one whose database is gone; ``asked`` counts questions."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_limits import Charged, LeasedPermits
from payment_token.domain.worker_policy import Budget, Rate


class MemoryWorkerLedger:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self.fails = False
        self.asked = 0
        self._now = now
        self._leased: Counter[tuple[str, float]] = Counter()
        self._tokens: defaultdict[tuple[str, float], set[str]] = defaultdict(set)

    async def lease_permits(self, identity: str, rate: Rate, wanted: int) -> LeasedPermits:
        start, left = self._window(rate.per_seconds)
        granted = min(wanted, max(0, rate.requests - self._leased[identity, start]))
        self._leased[identity, start] += granted
        return LeasedPermits(granted, left)

    async def charge_token(self, identity: str, budget: Budget, token_id: TokenId) -> Charged:
        start, left = self._window(budget.window_seconds)
        tokens = self._tokens[identity, start]
        if token_id.text not in tokens and len(tokens) >= budget.tokens:
            return Charged(within=False, seconds_left=left)
        tokens.add(token_id.text)
        return Charged(within=True, seconds_left=left)

    def _window(self, seconds: int) -> tuple[float, float]:
        """Its start, and how much of it is left. Raises DatabaseUnavailableError."""
        self.asked += 1
        if self.fails:
            raise DatabaseUnavailableError
        now = self._now().timestamp()
        start = now // seconds * seconds
        return start, start + seconds - now
