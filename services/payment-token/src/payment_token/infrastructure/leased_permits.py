"""Permits of a rate, which a process takes from the deployment's supply in blocks, so that most requests ask nobody.

A block is what becomes free in a tenth of a second, or as much as is wanted just now if that is more. What a process has left of
one after a second is forgotten, and so never comes on top of a later burst: in any span of time all processes together let
through no more than the burst, and the rate for that span and one second more.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from payment_token.domain.errors import (
    DatabaseUnavailableError,
    PaymentTokenError,
    RateLimitedError,
)
from payment_token.domain.permits import Rate

_BLOCKS_A_SECOND = 10
_KEPT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lease:
    """``permits`` may be none. After them the next one is free in ``seconds``."""

    permits: int
    seconds: float


class PermitStore(Protocol):
    async def lease(self, holder: str, rate: Rate, wanted: int) -> Lease:
        """As many as are free of those that are wanted. Raises DatabaseUnavailableError, OverloadedError."""
        ...


@dataclass(slots=True)
class _Held:
    """``left`` are good until ``kept_until``; before ``none_until`` there is no use in asking. ``failures`` only grow."""

    left: int = 0
    kept_until: float = 0.0
    none_until: float = 0.0
    waiting: int = 0
    failures: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class LeasedPermits:
    """For use from one event loop. ``monotonic`` gives seconds."""

    def __init__(self, store: PermitStore, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}

    async def take(self, holder: str, rate: Rate | None) -> None:
        """Raises RateLimitedError, DatabaseUnavailableError, OverloadedError."""
        if rate is None:
            return
        held = self._held.setdefault(holder, _Held())
        if self._took(held):
            return
        held.waiting += 1
        failures = held.failures
        try:
            async with held.asking:
                if held.failures != failures:
                    # Whoever asked for all who wait got no answer: one after the other they would wait for ever.
                    raise DatabaseUnavailableError
                if not self._took(held):
                    self._check_hope(held)
                    await self._ask(held, holder, rate)
        finally:
            held.waiting -= 1

    def _took(self, held: _Held) -> bool:
        if held.left == 0 or self._monotonic() >= held.kept_until:
            return False
        held.left -= 1
        return True

    def _check_hope(self, held: _Held) -> None:
        seconds = held.none_until - self._monotonic()
        if seconds > 0:
            raise _refusal(seconds)

    async def _ask(self, held: _Held, holder: str, rate: Rate) -> None:
        """Takes the first of a new block, however long the answer took: the others may be too old by then."""
        wanted = max(held.waiting, math.ceil(rate.per_second / _BLOCKS_A_SECOND))
        asked_at = self._monotonic()
        try:
            lease = await self._store.lease(holder, rate, min(wanted, rate.burst))
        except PaymentTokenError:
            held.failures += 1
            raise
        # When a block empties the supply, whoever comes after it need not ask.
        held.none_until = asked_at + lease.seconds
        if lease.permits == 0:
            raise _refusal(lease.seconds)
        held.left = lease.permits - 1
        held.kept_until = asked_at + _KEPT_SECONDS


def _refusal(seconds: float) -> RateLimitedError:
    return RateLimitedError(
        "This API key has used up its rate. Wait before trying again.",
        retry_after_seconds=max(1, math.ceil(seconds)),
    )
