"""How long to leave a custodian alone that failed, so that an outage or a throttle never becomes a storm of retries."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from payment_token.domain.errors import KeyCustodianUnavailableError

FIRST_REST_SECONDS = 0.1
LONGEST_REST_SECONDS = 5.0

_MOST_DOUBLINGS = 8


class Patience:
    """For the calls about one key, from one event loop.

    After a failure, calls are refused at once for a time that doubles with each failure in a row, with jitter. Then
    one call is let through to find out; the others are refused until it has succeeded.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = lambda: secrets.randbelow(1000) / 1000,
    ) -> None:
        self._monotonic = monotonic
        self._random = random
        self._failures = 0
        self._rest_until = 0.0
        self._finding_out = False

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Around one call. Raises KeyCustodianUnavailableError without making it while the custodian rests."""
        if self._failures and (self._finding_out or self._monotonic() < self._rest_until):
            raise KeyCustodianUnavailableError
        finding_out = self._finding_out = self._failures > 0
        failed = False
        try:
            yield
        except KeyCustodianUnavailableError:
            failed = True
            raise
        finally:
            if finding_out:
                self._finding_out = False
            if failed:
                self._rest()
            else:
                self._failures = 0

    def _rest(self) -> None:
        doublings = min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**doublings)
        self._rest_until = self._monotonic() + rest * (0.5 + self._random() / 2)
