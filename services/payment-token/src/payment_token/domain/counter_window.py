"""Which transaction counters of a terminal have been used: a high-water mark, and a window below it.

As IPsec does it against replay (RFC 4303 3.4.3 and appendix A2). A read that was kept while a shop was offline may arrive late, so
counters may come in any order within the window. What lies behind the window may have been used or not: nobody remembers,
so it is refused.

Only reads that decrypted move the window. Whoever sends garbage under the counters to come changes nothing here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

WINDOW = 1024
JUMP = 10_000
"""A counter further ahead than that is taken all the same, and an operator hears of it."""

MOST_COUNTER = 2**63 - 1


class CounterVerdict(StrEnum):
    FRESH = "fresh"
    JUMPED = "jumped"  # fresh, but far ahead
    REPLAYED = "replayed"
    BEHIND_WINDOW = "behind-window"

    @property
    def is_fresh(self) -> bool:
        return self in (CounterVerdict.FRESH, CounterVerdict.JUMPED)


class ReplayRule(StrEnum):
    """What a BDK's terminals may do with a counter that is not fresh."""

    REJECT = "reject"
    FLAG = "flag"  # accepted, and an operator hears of it
    OFF = "off"  # for test terminals that count nothing


@dataclass(frozen=True, slots=True)
class CounterWindow:
    """``high_water`` is ``None`` before the first counter. Bit n of ``seen`` stands for the counter ``high_water - n``."""

    high_water: int | None = None
    seen: int = 0

    def verdict(self, counters: Iterable[int]) -> CounterVerdict:
        """Of the counters of one read, the worst: ``device-aead`` has one for each part."""
        verdicts = {self._verdict(counter) for counter in counters}
        for verdict in (
            CounterVerdict.REPLAYED,
            CounterVerdict.BEHIND_WINDOW,
            CounterVerdict.JUMPED,
        ):
            if verdict in verdicts:
                return verdict
        return CounterVerdict.FRESH

    def _verdict(self, counter: int) -> CounterVerdict:
        if self.high_water is None:
            return CounterVerdict.FRESH
        ahead = counter - self.high_water
        if ahead > 0:
            return CounterVerdict.JUMPED if ahead > JUMP else CounterVerdict.FRESH
        if ahead <= -WINDOW:
            return CounterVerdict.BEHIND_WINDOW
        return CounterVerdict.REPLAYED if self.seen >> -ahead & 1 else CounterVerdict.FRESH

    def used(self, counters: Iterable[int]) -> Self:
        """This window once these counters are used."""
        window = self
        for counter in counters:
            window = window._with(counter)
        return window

    def _with(self, counter: int) -> Self:
        high_water = counter if self.high_water is None else max(self.high_water, counter)
        # Not to shift by the whole of a jump, which may be of any length.
        moved = 0 if self.high_water is None else min(high_water - self.high_water, WINDOW)
        behind = high_water - counter
        mark = 1 << behind if behind < WINDOW else 0
        return type(self)(high_water, (self.seen << moved | mark) & ((1 << WINDOW) - 1))
