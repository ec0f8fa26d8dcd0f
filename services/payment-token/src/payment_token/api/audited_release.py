"""A release as both protocols do it: each attempt, allowed or refused, is a durable record before its answer leaves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Release, Released, ReleaseRequest
from payment_token.domain.worker_policy import Worker

Result = TypeVar("Result")


@dataclass(slots=True)
class Attempt:
    """What an audit record can say of a request that ends early: ``request`` once it was readable."""

    worker: Worker
    request_id: RequestId
    request: ReleaseRequest | None = None


async def released_on_record(
    release: Release,
    attempt: Attempt,
    read: Callable[[], Awaitable[None]],
    is_given_up: Callable[[], bool],
) -> Released:
    """``read`` completes the attempt, once the worker is admitted.

    ``is_given_up`` says whether no answer reaches the worker any more: what was released is then taken back.
    """
    released = await on_record(release, attempt, lambda: _released(release, attempt, read))
    if is_given_up():
        release.take_back(released)
        raise AuditUnavailableError
    return released


async def on_record(
    release: Release, attempt: Attempt, work: Callable[[], Awaitable[Result]]
) -> Result:
    """Whatever ``work`` refuses is on record before it is raised."""
    refusal = None
    try:
        return await work()
    except AuditUnavailableError:
        raise
    except PaymentTokenError as error:
        refusal = error
    await release.record_refusal(attempt.worker, attempt.request_id, attempt.request, refusal)
    raise refusal


async def _released(
    release: Release, attempt: Attempt, read: Callable[[], Awaitable[None]]
) -> Released:
    release.admit(attempt.worker)
    await read()
    if attempt.request is None:
        raise RuntimeError("the attempt was not read")
    return await release(attempt.worker, attempt.request_id, attempt.request)
