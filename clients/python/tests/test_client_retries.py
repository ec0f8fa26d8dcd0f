"""When a request is sent again, decided without a clock and without a network."""

import random
import threading

import pytest

from payment_token_client import RetryBudget, RetryPolicy
from payment_token_client.errors import (
    ClientError,
    ConnectionFailedError,
    DatabaseUnavailableError,
    ForbiddenError,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    RateLimitedError,
    RecordIntegrityFailureError,
    ServiceError,
    TLSRefusedError,
    TokenRevokedError,
    UnexpectedAnswerError,
)
from payment_token_client.retries import Attempts


def attempts(policy: RetryPolicy | None = None, budget: RetryBudget | None = None) -> Attempts:
    return Attempts(policy or RetryPolicy(), budget or RetryBudget(now=0), now=0)


def outage(retry_after: float | None = None) -> ClientError:
    return DatabaseUnavailableError("…", status=503, retry_after=retry_after)


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionFailedError("…"),
        RateLimitedError("…", status=429),
        DatabaseUnavailableError("…", status=503),
        ServiceError("a proxy's page", status=503),
        IdempotencyInProgressError("…", status=409),
    ],
)
def test_what_waiting_may_mend_is_sent_again(failure: ClientError) -> None:
    assert attempts().wait_after(failure, now=0, random=0.5) is not None


@pytest.mark.parametrize(
    "failure",
    [
        TLSRefusedError("…"),
        UnexpectedAnswerError("…", status=200),
        ForbiddenError("…", status=403),
        TokenRevokedError("…", status=410),
        IdempotencyKeyReusedError("…", status=422),
        RecordIntegrityFailureError("…", status=500),
        ServiceError("…", status=500),
        ServiceError("…", status=502),
        ServiceError("another conflict", status=409),
    ],
)
def test_what_waiting_does_not_mend_is_final(failure: ClientError) -> None:
    assert attempts().wait_after(failure, now=0, random=0.5) is None


def test_waits_are_drawn_from_the_whole_of_a_range_that_doubles_up_to_its_bound() -> None:
    policy = RetryPolicy(attempts=10, total=1000)
    longest = attempts(policy)
    bounds = [longest.wait_after(outage(), now=0, random=1.0) for _ in range(7)]
    assert bounds == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert attempts(policy).wait_after(outage(), now=0, random=0.0) == 0.0
    source = random.Random(7)
    drawn = [attempts().wait_after(outage(), now=0, random=source.random()) for _ in range(200)]
    assert all(wait is not None and 0 <= wait < 0.1 for wait in drawn)
    assert len(set(drawn)) > 190


def test_no_wait_is_shorter_than_retry_after() -> None:
    wait = attempts().wait_after(outage(retry_after=3), now=0, random=0.5)
    assert wait is not None
    assert 3 < wait < 3.1


def test_nothing_is_sent_past_the_deadline_of_the_whole() -> None:
    policy = RetryPolicy(total=10)
    assert attempts(policy).wait_after(outage(retry_after=60), now=0, random=0) is None
    assert attempts(policy).wait_after(outage(retry_after=1), now=9, random=0) is None
    assert attempts(policy).wait_after(outage(retry_after=1), now=8.9, random=0) == 1


def test_the_number_of_attempts_is_bounded() -> None:
    three = attempts(RetryPolicy(attempts=3))
    waits = [three.wait_after(outage(), now=0, random=0) for _ in range(3)]
    assert waits == [0, 0, None]


def test_a_budget_that_is_spent_gives_a_tenth_of_the_operations() -> None:
    budget = RetryBudget(ratio=0.1, per_second=0, capacity=5, now=0)
    policy = RetryPolicy(attempts=2)
    waits = [
        attempts(policy, budget).wait_after(outage(), now=0, random=0) for _operation in range(1000)
    ]
    retries = sum(wait is not None for wait in waits)
    assert 100 <= retries <= 106


def test_time_gives_a_minimum_to_a_client_that_does_little() -> None:
    budget = RetryBudget(ratio=0, per_second=1, capacity=2, now=0)
    assert [budget.take(0), budget.take(0), budget.take(0)] == [True, True, False]
    assert not budget.take(0.5)
    assert budget.take(1.0)
    assert [budget.take(100), budget.take(100), budget.take(100)] == [True, True, False]


def test_a_clock_that_seems_to_go_back_fills_no_budget() -> None:
    budget = RetryBudget(ratio=0, per_second=1, capacity=1, now=100)
    assert budget.take(100)
    assert not budget.take(50)
    assert not budget.take(100.5)


def test_a_retry_that_is_not_made_takes_nothing_out_of_the_budget() -> None:
    budget = RetryBudget(ratio=0, per_second=0, capacity=1, now=0)
    attempts(budget=budget).wait_after(outage(retry_after=60), now=0, random=0)
    attempts(budget=budget).wait_after(ForbiddenError("…", status=403), now=0, random=0)
    assert budget.take(0)


def test_threads_take_no_more_than_there_is() -> None:
    budget = RetryBudget(ratio=0, per_second=0, capacity=50, now=0)
    taken: list[bool] = []

    def take() -> None:
        taken.extend(budget.take(0) for _ in range(100))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 50


@pytest.mark.parametrize("name", ["total", "connect", "read", "attempts"])
def test_a_policy_without_any_time_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        RetryPolicy(**{name: 0})
