"""What is sent next, and when, until there is an outcome. It decides only: a transport waits, sends and brings the answer.

Both transports drive the same exchanges, so that none of this is there twice.
"""

import copy
import random
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from payment_token_client.answers import Answer, unexpected
from payment_token_client.batches import Batch, BatchItem
from payment_token_client.errors import ClientError, UnexpectedAnswerError
from payment_token_client.operations import Operation
from payment_token_client.retries import Attempts, RetryBudget, RetryPolicy

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Send:
    """``wait`` is how many seconds to wait first. ``until`` is when the answer must be there, a monotonic time."""

    operation: Operation[Any]
    until: float
    wait: float = 0.0


Exchange = Generator[Send, Answer | ClientError, Result]


def single(
    operation: Operation[Result], policy: RetryPolicy, budget: RetryBudget
) -> Exchange[Result]:
    """Raises ClientError, the last failure, once there is no reason or no time to try again."""
    attempts = Attempts(policy, budget, time.monotonic())
    send = Send(operation, attempts.deadline)
    while True:
        outcome = yield send
        if isinstance(outcome, Answer):
            return result_of(operation, outcome)
        wait = _wait_after(attempts, outcome)
        if wait is None:
            outcome.idempotency_key = operation.idempotency_key
            raise outcome
        send = Send(operation, attempts.deadline, wait)


def batch(
    given: Batch[Result], policy: RetryPolicy, budget: RetryBudget
) -> Exchange[list[Result | ClientError]]:
    """What came of each item, in their order. What fails as a whole is the failure of each.

    A batch that got no answer is sent again as it was. Of one that was answered only those items are that may succeed
    later. Policy and budget hold for all of that together, as for one operation.
    """
    attempts = Attempts(policy, budget, time.monotonic())
    outcomes: dict[int, Result | ClientError] = {}
    left = list(range(len(given.items)))
    operation = given.operation(given.items)
    send = Send(operation, attempts.deadline)
    while True:
        outcome = yield send
        outcomes.update(zip(left, _each(operation, outcome, len(left)), strict=True))
        time_left = attempts.time_left(time.monotonic())
        mendable = {
            place: failure
            for place in left
            if isinstance(failure := outcomes[place], ClientError) and failure.retryable
            # What asks for more is final, and holds up no other.
            and (failure.retry_after or 0.0) < time_left
        }
        wait = _wait_after(attempts, _slowest(mendable.values())) if mendable else None
        if wait is None:
            return [_under_its_key(outcomes[place], item) for place, item in enumerate(given.items)]
        if isinstance(outcome, Answer):
            left = list(mendable)
            operation = given.operation([given.items[place] for place in left])
        send = Send(operation, attempts.deadline, wait)


def result_of(operation: Operation[Result], answer: Answer) -> Result:
    """Raises UnexpectedAnswerError, outside the ``except``: what the reading raised would carry the body along."""
    try:
        return operation.read(answer)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        failure = unexpected(answer)
    failure.idempotency_key = operation.idempotency_key
    raise failure


def _wait_after(attempts: Attempts, failure: ClientError) -> float | None:
    # Spreads callers in time, guards nothing.
    return attempts.wait_after(failure, time.monotonic(), random.random())  # noqa: S311


def _each(
    operation: Operation[list[Result | ClientError]], outcome: Answer | ClientError, number: int
) -> list[Result | ClientError]:
    if isinstance(outcome, Answer):
        try:
            return result_of(operation, outcome)
        except UnexpectedAnswerError as error:
            outcome = error
    # Each has an error of its own, because each has a key of its own.
    failure = outcome
    return [copy.copy(failure) for _ in range(number)]


def _slowest(failures: Iterable[ClientError]) -> ClientError:
    """The one that asks for the longest wait."""
    return max(failures, key=lambda failure: failure.retry_after or 0.0)


def _under_its_key(outcome: Result | ClientError, item: BatchItem[Result]) -> Result | ClientError:
    if isinstance(outcome, ClientError):
        outcome.idempotency_key = item.idempotency_key
    return outcome
