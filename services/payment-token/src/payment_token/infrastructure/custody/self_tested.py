"""The known-answer self-tests of a process, asked before its first key is."""

import logging
from collections.abc import Iterable, Sequence

from payment_token.domain.self_test import KNOWN_ANSWERS, CryptographyState, KnownAnswer, ask

logger = logging.getLogger(__name__)


def self_tested(known_answers: Iterable[KnownAnswer] = KNOWN_ANSWERS) -> CryptographyState:
    """About a millisecond. A failure is logged once, and from then on no key of this process is used."""
    state = CryptographyState(_alarm)
    state.learn(ask(known_answers))
    return state


def _alarm(failed: Sequence[str]) -> None:
    logger.critical(
        "a self-test failed: this process uses no key any more; see `payment-token doctor`",
        extra={"failed": list(failed)},
    )
