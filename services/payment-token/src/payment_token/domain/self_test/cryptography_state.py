"""Whether this process may still use keys."""

from collections.abc import Callable, Iterable, Sequence

from payment_token.domain.errors import SelfTestFailedError
from payment_token.domain.self_test.known_answer import SelfTestResult

Alarm = Callable[[Sequence[str]], None]
"""Gets the names of the failed tests, once in the life of a process."""


class CryptographyState:
    """A failed self-test stops all cryptography until the process ends: what gave one wrong answer may give others."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._stopped = False

    @property
    def stopped(self) -> bool:
        return self._stopped

    def check(self) -> None:
        """Before any use of a key. Raises SelfTestFailedError once a self-test has failed."""
        if self._stopped:
            raise SelfTestFailedError

    def learn(self, results: Iterable[SelfTestResult]) -> None:
        failed = [result.name for result in results if not result.passed]
        if failed and not self._stopped:
            self._stopped = True
            self._alarm(failed)
