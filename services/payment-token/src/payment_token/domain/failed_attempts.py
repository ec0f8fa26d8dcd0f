"""How often a caller may be wrong under one key serial number.

CBC without a MAC can be probed: whoever holds a recorded ciphertext changes a bit, and the answer tells whether the card data
still passes. A terminal uses a KSN for one read, so a few failures are plenty for a caller in good faith. Past them this API key
is barred from this KSN, and no other key and no other KSN is: an attacker bars nobody but himself.

Under one KSN one payload is decrypted at a time, because a thousand probes that are sent at once would all pass before the first
of them is counted. ``device-aead`` needs none of this: its tag tells a changed ciphertext.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from payment_token.domain.errors import DecryptionFailedError, KSNBarredError

Read = TypeVar("Read")

DEFAULT_LIMIT = 3


class AttemptName(NamedTuple):
    """``ksn`` is upper-case hexadecimal, normalised; empty for a payload without one."""

    api_key_id: str
    ksn: str


class CountedAttempts(Protocol):
    async def count(self, attempt: AttemptName) -> int:
        """One more failure, in a transaction of its own. Returns how many there are."""
        ...


@dataclass(slots=True)
class _UnderWay:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    failures: int = 0


class FailedAttempts:
    """For one event loop."""

    def __init__(self, counted: CountedAttempts, limit: int = DEFAULT_LIMIT) -> None:
        self._counted = counted
        self._limit = limit
        self._under_way: dict[AttemptName, _UnderWay] = {}

    async def attempt(
        self, name: AttemptName, failures: int, read: Callable[[], Awaitable[Read]]
    ) -> Read:
        """What ``read`` gives; ``failures`` is what was known when the request arrived.

        A DecryptionFailedError is counted before it goes on, so that no answer tells of a failure that does not count.
        Raises KSNBarredError without an attempt once there were too many.
        """
        under_way = self._under_way.setdefault(name, _UnderWay())
        under_way.waiting += 1
        try:
            async with under_way.turn:
                if max(failures, under_way.failures) >= self._limit:
                    raise KSNBarredError
                try:
                    return await read()
                except DecryptionFailedError:
                    under_way.failures = await self._counted.count(name)
                    raise
        finally:
            under_way.waiting -= 1
            if not under_way.waiting:
                self._under_way.pop(name, None)
