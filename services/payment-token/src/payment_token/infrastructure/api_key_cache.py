"""API keys in memory for a few seconds, so that a busy key is not a query for each request.

A revoked key goes on for as long as its entry: that is less than five seconds. Unknown ids are not kept, so that made-up
ones neither fill the memory nor push real keys out of it. Only the hash of a secret is here, as in the database.
"""

import random
import time
from typing import Protocol

from payment_token.domain.api_key import APIKey
from payment_token.domain.expiring_cache import JITTER, ExpiringCache

REVOKED_WITHIN_SECONDS = 5.0

_AGE_SECONDS = 4.0
_LIMIT = 10_000

if _AGE_SECONDS * (1 + JITTER) >= REVOKED_WITHIN_SECONDS:
    raise AssertionError("an entry that is spread to its longest must be gone by then")


class APIKeys(Protocol):
    async def find(self, key_id: str) -> APIKey | None: ...


class _UnknownError(Exception):
    """A failure is not kept; so an unknown key is one."""


class APIKeyCache:
    """For one event loop. While the database is away, what is here goes on until its age is up."""

    def __init__(self, stored: APIKeys) -> None:
        self._stored = stored
        self._held: ExpiringCache[str, APIKey] = ExpiringCache(
            time.monotonic,
            random.SystemRandom().random,
            lambda _: None,
            limit=_LIMIT,
            age_seconds=_AGE_SECONDS,
        )

    async def find(self, key_id: str) -> APIKey | None:
        async def look() -> APIKey:
            found = await self._stored.find(key_id)
            if found is None:
                raise _UnknownError
            return found

        try:
            return await self._held.get(key_id, look)
        except _UnknownError:
            return None

    def forget_expired(self) -> None:
        """Called every now and then."""
        self._held.forget_expired()
