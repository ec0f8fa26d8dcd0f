"""When API keys were last used, to the minute, for `api-keys list`: no request writes it, or waits until it is written.

Only keys that proved themselves are noted, so nobody who has none fills this memory. A process that ends takes its last seconds
with it: to end without delay, also in an outage, is worth more.
"""

from collections.abc import Collection
from typing import Protocol

WRITE_INTERVAL_SECONDS = 10.0


class UseStore(Protocol):
    async def note(self, key_ids: Collection[str]) -> None:
        """They were used about now. Raises DatabaseUnavailableError."""
        ...


class NotedUses:
    """For use from one event loop."""

    def __init__(self, store: UseStore) -> None:
        self._store = store
        self._used: set[str] = set()

    def note(self, key_id: str) -> None:
        self._used.add(key_id)

    async def write(self) -> None:
        """What cannot be written now is written the next time. Raises DatabaseUnavailableError."""
        if not self._used:
            return
        used, self._used = self._used, set()
        try:
            await self._store.note(used)
        except BaseException:
            self._used |= used
            raise
