"""When a request is sent again. Decides only: time and randomness come in as arguments."""

import threading
from dataclasses import dataclass

from payment_token_client.errors import ClientError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds. ``total`` bounds an operation with all its attempts and waits; each wait is drawn from 0 to
    ``first_backoff`` doubled with each attempt, ``longest_backoff`` at most, after whatever Retry-After asks for.
    """

    total: float = 10.0
    connect: float = 2.0
    read: float = 5.0
    attempts: int = 5
    first_backoff: float = 0.1
    longest_backoff: float = 2.0

    def __post_init__(self) -> None:
        if min(self.total, self.connect, self.read, self.attempts) <= 0:
            raise ValueError("timeouts and attempts are more than nothing")


class RetryBudget:
    """How many retries all operations of a client may make together, so that they do not keep a weak service down.

    A bucket: each operation puts in ``ratio``, time puts in ``per_second``, a retry takes one out. It starts full.
    Safe to share between threads.

    >>> budget = RetryBudget(ratio=0.1, per_second=0, capacity=1, now=0)
    >>> budget.take(now=0), budget.take(now=0)
    (True, False)
    """

    def __init__(
        self,
        *,
        ratio: float = 0.1,
        per_second: float = 1.0,
        capacity: float = 20.0,
        now: float,
    ) -> None:
        self._ratio, self._per_second, self._capacity = ratio, per_second, capacity
        self._level, self._seen = capacity, now
        self._lock = threading.Lock()

    def operation_began(self) -> None:
        with self._lock:
            self._level = min(self._capacity, self._level + self._ratio)

    def take(self, now: float) -> bool:
        with self._lock:
            passed = max(0.0, now - self._seen)
            self._seen = max(self._seen, now)
            self._level = min(self._capacity, self._level + passed * self._per_second)
            # Ten times a tenth is a little less than one.
            if self._level < 1 - 1e-9:
                return False
            self._level -= 1
            return True


class Attempts:
    """Those of one operation, which began at ``now``, a monotonic time in seconds."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, now: float) -> None:
        self._policy, self._budget = policy, budget
        self.deadline = now + policy.total
        self._made = 0
        budget.operation_began()

    def time_left(self, now: float) -> float:
        return self.deadline - now

    def wait_after(self, failure: ClientError, now: float, random: float) -> float | None:
        """Seconds until the same bytes are sent again; None where the failure is final. ``random`` is in [0, 1)."""
        self._made += 1
        if not failure.retryable or self._made >= self._policy.attempts:
            return None
        backoff = self._policy.first_backoff * 2.0 ** (self._made - 1)
        wait = (failure.retry_after or 0.0) + random * min(self._policy.longest_backoff, backoff)
        # Last, so that a retry that cannot be made takes nothing.
        if wait >= self.time_left(now) or not self._budget.take(now):
            return None
        return wait
