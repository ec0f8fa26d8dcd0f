"""How long to leave a custodian alone that failed, so that an outage or a throttle never becomes a storm of retries."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from payment_token.domain.errors import KeyCustodianRefusedError, KeyCustodianUnavailableError

FIRST_REST_SECONDS = 0.1
LONGEST_REST_SECONDS = 1.0
"""One call a second finds out soon enough that the custodian is back, and is no load for it."""

_MOST_DOUBLINGS = 8


class Patience:
    """For the calls about one key, from one event loop.

    After a failure, calls are refused at once for a time that doubles with each failure in a row, with jitter. Then
    one call is let through to find out; the others are refused until it has succeeded. A refusal is no failure: the
    custodian is there, and answers.
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

    def check(self) -> None:
        """Raises KeyCustodianUnavailableError while the custodian rests."""
        if self._failures and (self._finding_out or self._monotonic() < self._rest_until):
            raise KeyCustodianUnavailableError

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Around one call. Raises KeyCustodianUnavailableError without making it while the custodian rests."""
        self.check()
        failures_before = self._failures
        finding_out = self._finding_out = failures_before > 0
        failed = abandoned = False
        try:
            yield
        except KeyCustodianRefusedError:
            raise
        except KeyCustodianUnavailableError:
            failed = True
            raise
        except BaseException as error:
            # Whoever asked went away: nothing was found out.
            abandoned = not isinstance(error, Exception)
            raise
        finally:
            if finding_out:
                self._finding_out = False
            if failed:
                self._rest(failures_before)
            elif not abandoned:
                self._failures = 0

    def _rest(self, failures_before: int) -> None:
        # Calls that were under way together fail together: that is one failure, not as many as there were calls.
        if self._failures > failures_before:
            return
        doublings = min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**doublings)
        self._rest_until = self._monotonic() + rest * (0.5 + self._random() / 2)
