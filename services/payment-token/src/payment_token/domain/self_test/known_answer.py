"""One computation whose answer is published, asked of the code that serves requests."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """``compute`` must give ``expected``, which is hexadecimal; ``source`` says who published it."""

    name: str
    source: str
    compute: Callable[[], bytes]
    expected: str


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """``detail`` is where the answer was published, or what to do; it never holds a key."""

    name: str
    passed: bool
    detail: str


def ask(tests: Iterable[KnownAnswer]) -> tuple[SelfTestResult, ...]:
    """Asks each. Nothing that a broken primitive does gets out of here but as a result."""
    return tuple(SelfTestResult(test.name, _agrees(test), test.source) for test in tests)


def _agrees(test: KnownAnswer) -> bool:
    try:
        return hmac.compare_digest(test.compute(), bytes.fromhex(test.expected))
    # A library that is broken, or lacks an algorithm, may raise anything.
    except Exception:  # noqa: BLE001
        return False
