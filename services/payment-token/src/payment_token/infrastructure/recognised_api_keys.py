"""API keys that proved themselves a moment ago, so that not every request asks the database about its key.

What is remembered is that this key with this secret was good: a refusal never is. So whoever has no good key changes
nothing here, neither fills the memory nor pushes others out of it, and every refusal costs one query, whether the id
is unknown, the secret wrong, or the key revoked or expired: they cannot be told apart by the time they take.

A key expires at its instant of the database's clock, remembered or not. What is left of its life is counted from the question
on the monotonic clock, which nobody sets; so it is never taken too late, and when its time seems to be up, the database says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from payment_token.domain.api_key import APIKey, KeyReading, PresentedKey
from payment_token.domain.errors import UnauthenticatedError
from payment_token.domain.expiring_cache import ExpiringCache

REVOKED_WITHIN_SECONDS = 5.0
"""A process takes a key for so long after its revocation at most."""

# With the cache's spread of a fifth, 3.2 to 4.8 seconds.
_AGE_SECONDS = 4.0
_LIMIT = 10_000


class APIKeyStore(Protocol):
    async def find(self, key_id: str) -> KeyReading | None: ...


@dataclass(frozen=True, slots=True)
class _Recognised:
    key: APIKey
    good_until: float


class RecognisedAPIKeys:
    """For use from one event loop. ``monotonic`` gives seconds, ``random`` a number from 0 to 1.

    ``note_use`` is told the id of each key that proved itself, at each request.
    """

    def __init__(
        self,
        store: APIKeyStore,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        *,
        note_use: Callable[[str], None],
        limit: int = _LIMIT,
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._note_use = note_use
        self._recognised: ExpiringCache[PresentedKey, _Recognised] = ExpiringCache(
            monotonic, random, lambda _: None, limit=limit, age_seconds=_AGE_SECONDS
        )

    async def authenticate(self, presented: PresentedKey) -> APIKey:
        """Raises UnauthenticatedError, without saying what is wrong; DatabaseUnavailableError."""
        found = await self._recognised.get(presented, lambda: self._ask(presented))
        if self._monotonic() >= found.good_until:
            # The key may have expired; or the database took long to answer, and what it said is older than the answer is.
            found = await self._ask(presented)
        self._note_use(found.key.key_id)
        return found.key

    async def forget_expired(self) -> None:
        self._recognised.forget_expired()

    async def _ask(self, presented: PresentedKey) -> _Recognised:
        asked_at = self._monotonic()
        reading = await self._store.find(presented.key_id)
        if reading is None:
            raise UnauthenticatedError
        reading.key.authenticate(presented, reading.read_at)
        good_for = min(reading.seconds_left, REVOKED_WITHIN_SECONDS)
        return _Recognised(reading.key, asked_at + good_for)
