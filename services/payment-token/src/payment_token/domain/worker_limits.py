"""What a worker may have within a time: so many requests (its rate), so many different tokens (its budget).

Both hold for the whole deployment. Their counts are in a ledger that all processes share; a process asks it as seldom as it
can:

- permits to make requests are leased in blocks. What a process leases and does not use is lost with its window, or with the
  process: that denies a little, and never allows
- a token that was charged is remembered until its window ends. A worker that asks again pays nothing, and neither does the
  database

A worker without limits costs nothing at all.
"""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from payment_token.domain.errors import OverWorkerLimitError
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import Budget, Rate

BLOCKS = 16
"""Into so many blocks the permits of a window are cut: so often, and a few times more, all processes together ask for some."""

# Some 200 bytes each. What does not fit is asked of the ledger again, and costs a statement, not the budget.
_REMEMBERED = 50_000


class Limit(StrEnum):
    RATE = "rate"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class LeasedPermits:
    """``seconds_left`` until the window ends that they are of; ``granted`` is fewer than wanted where no more are left."""

    granted: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Charged:
    """``within`` the budget, or the token was so before. ``seconds_left`` until the window ends."""

    within: bool
    seconds_left: float


class WorkerLedger(Protocol):
    """The counts of all processes. A window begins at each multiple of its length, from 1970 on, by the database's clock.

    Any method may raise DatabaseUnavailableError or OverloadedError.
    """

    async def lease_permits(self, identity: str, rate: Rate, wanted: int) -> LeasedPermits:
        """Never more in a window than the rate has, whoever asks at the same moment."""
        ...

    async def charge_token(self, identity: str, budget: Budget, token_id: TokenId) -> Charged:
        """Counts a token once in a window, and exactly as many as the budget has. What is over it is not counted.

        A release whose record is durable has its charge durable as well.
        """
        ...


class _Lease:
    """Permits that are left of a block. ``is_last``: the window has no more. ``until`` is of the monotonic clock."""

    __slots__ = ("is_last", "left", "rate", "until")

    def __init__(self, rate: Rate, left: int, until: float, *, is_last: bool) -> None:
        self.rate = rate
        self.left = left
        self.until = until
        self.is_last = is_last


class WorkerLimits:
    """For one event loop. ``monotonic`` gives seconds."""

    def __init__(self, ledger: WorkerLedger, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        # By identity: no more than policies have named.
        self._leases: dict[str, _Lease] = {}
        self._leasing: dict[str, asyncio.Task[_Lease]] = {}
        self._wanting: Counter[str] = Counter()
        self._charged: OrderedDict[tuple[str, int, str], float] = OrderedDict()

    async def take_permit(self, identity: str, rate: Rate | None) -> None:
        """One request more of this worker. Raises OverWorkerLimitError, DatabaseUnavailableError, OverloadedError."""
        if rate is None:
            return
        lease = self._current(identity, rate)
        while lease is None or not lease.left:
            if lease is not None and lease.is_last:
                raise self._over_rate(rate, lease.until)
            # What it gives counts in its window, however late it comes: whoever waited for it has it.
            lease = await self._leased(identity, rate)
        lease.left -= 1

    async def charge(self, identity: str, budget: Budget | None, token_id: TokenId) -> None:
        """This worker gets the card data of this token. Raises OverWorkerLimitError, and as above."""
        if budget is None:
            return
        name = (identity, budget.window_seconds, token_id.text)
        asked_at = self._monotonic()
        if self._charged.get(name, asked_at) > asked_at:
            return
        charged = await self._ledger.charge_token(identity, budget, token_id)
        if not charged.within:
            raise OverWorkerLimitError(
                Limit.BUDGET,
                f"This worker's budget is used up: {budget}."
                " Tokens that it had in this window are still released.",
                _whole_seconds(charged.seconds_left),
            )
        # Counted from before it was asked: never past the window's end.
        self._remember(name, asked_at + charged.seconds_left)

    def _current(self, identity: str, rate: Rate) -> _Lease | None:
        lease = self._leases.get(identity)
        if lease is None or lease.rate != rate or self._monotonic() >= lease.until:
            return None
        return lease

    async def _leased(self, identity: str, rate: Rate) -> _Lease:
        """One block at a time; whoever comes meanwhile waits for it."""
        self._wanting[identity] += 1
        try:
            task = self._leasing.get(identity)
            # One that is done may be here for a moment yet, and what it gave may be used up.
            if task is None or task.done():
                # A task of its own: the one who asked first may be given up at its deadline, and the others still wait.
                task = asyncio.ensure_future(self._lease_block(identity, rate))
                self._leasing[identity] = task
                task.add_done_callback(lambda done: self._has_leased(identity, done))
            return await asyncio.shield(task)
        finally:
            self._wanting[identity] -= 1

    async def _lease_block(self, identity: str, rate: Rate) -> _Lease:
        # Whoever is ready to join does so first.
        await asyncio.sleep(0)
        wanted = max(1, self._wanting[identity], rate.requests // BLOCKS)
        asked_at = self._monotonic()
        permits = await self._ledger.lease_permits(identity, rate, wanted)
        lease = _Lease(
            rate,
            permits.granted,
            asked_at + permits.seconds_left,
            is_last=permits.granted < wanted,
        )
        self._leases[identity] = lease
        return lease

    def _has_leased(self, identity: str, task: "asyncio.Task[_Lease]") -> None:
        if self._leasing.get(identity) is task:
            del self._leasing[identity]
        if not task.cancelled():
            # Looked at here, because everybody who waited for it may be gone.
            task.exception()

    def _over_rate(self, rate: Rate, until: float) -> OverWorkerLimitError:
        return OverWorkerLimitError(
            Limit.RATE,
            f"This worker's rate is {rate}. Wait before trying again.",
            _whole_seconds(until - self._monotonic()),
        )

    def _remember(self, name: tuple[str, int, str], until: float) -> None:
        self._charged[name] = until
        self._charged.move_to_end(name)
        while len(self._charged) > _REMEMBERED:
            self._charged.popitem(last=False)


def _whole_seconds(seconds: float) -> int:
    """At least one: who comes back at once only meets the same window."""
    return max(1, math.ceil(seconds))
