"""API keys that proved themselves a moment ago, so that not every request asks the database about its key.

What is remembered is that this key with this secret was good: a refusal never is. So whoever has no good key changes
nothing here, neither fills the memory nor pushes others out of it, and every refusal costs one query, whether the id
is unknown, the secret wrong or the key revoked: they cannot be told apart by the time they take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from payment_token.domain.api_key import APIKey, PresentedKey
from payment_token.domain.errors import UnauthenticatedError
from payment_token.domain.expiring_cache import ExpiringCache

REVOKED_WITHIN_SECONDS = 5.0
"""A process takes a key for so long after its revocation at most."""

# With the cache's spread of a fifth, 3.2 to 4.8 seconds.
_AGE_SECONDS = 4.0
_LIMIT = 10_000


class APIKeyStore(Protocol):
    async def find(self, key_id: str) -> APIKey | None: ...


@dataclass(frozen=True, slots=True)
class _Recognised:
    key: APIKey
    asked_at: float


class RecognisedAPIKeys:
    """For use from one event loop. ``monotonic`` gives seconds, ``random`` a number from 0 to 1."""

    def __init__(
        self,
        store: APIKeyStore,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        *,
        limit: int = _LIMIT,
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._recognised: ExpiringCache[PresentedKey, _Recognised] = ExpiringCache(
            monotonic, random, lambda _: None, limit=limit, age_seconds=_AGE_SECONDS
        )

    async def authenticate(self, presented: PresentedKey) -> APIKey:
        """Raises UnauthenticatedError, without saying what is wrong; DatabaseUnavailableError."""
        found = await self._recognised.get(presented, lambda: self._ask(presented))
        if self._monotonic() - found.asked_at >= REVOKED_WITHIN_SECONDS:
            # The database took long to answer, and what it said may be older than the answer is.
            found = await self._ask(presented)
        return found.key

    async def forget_expired(self) -> None:
        self._recognised.forget_expired()

    async def _ask(self, presented: PresentedKey) -> _Recognised:
        asked_at = self._monotonic()
        key = await self._store.find(presented.key_id)
        if key is None:
            raise UnauthenticatedError
        key.authenticate(presented)
        return _Recognised(key, asked_at)
