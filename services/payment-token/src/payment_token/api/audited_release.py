"""What a worker asks for, as both protocols do it: each attempt, allowed or refused, is a durable record before its answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from payment_token.api.noted_cleartext import note_cleartext_of_worker
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.errors import (
    AuditUnavailableError,
    CleartextCardDataError,
    PaymentTokenError,
)
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Release, Released, ReleaseRequest
from payment_token.domain.worker_policy import Worker

Asked = TypeVar("Asked")
Asked_contra = TypeVar("Asked_contra", contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(slots=True)
class Attempt(Generic[Asked]):
    """What an audit record can say of a request that ends early: ``request`` once it was readable."""

    worker: Worker
    request_id: RequestId
    request: Asked | None = None


class RefusalsOnRecord(Protocol[Asked_contra]):
    """A use case of the internal side, as far as it keeps record of what it refuses."""

    @property
    def device_events(self) -> DeviceEvents: ...

    async def record_refusal(
        self,
        worker: Worker,
        request_id: RequestId,
        request: Asked_contra | None,
        error: PaymentTokenError,
    ) -> None: ...


class ForWorkers(RefusalsOnRecord[Asked_contra], Protocol[Asked_contra, Result_co]):
    """A use case of the internal side. It keeps record of what it does by itself."""

    def admit(self, worker: Worker) -> None: ...

    async def __call__(
        self, worker: Worker, request_id: RequestId, request: Asked_contra
    ) -> Result_co: ...


async def released_on_record(
    release: Release,
    attempt: Attempt[ReleaseRequest],
    read: Callable[[], Awaitable[None]],
    is_given_up: Callable[[], bool],
) -> Released:
    """``is_given_up`` says whether no answer reaches the worker any more: what was released is then taken back."""
    released = await done_on_record(release, attempt, read)
    if is_given_up():
        release.take_back(released)
        raise AuditUnavailableError
    return released


async def done_on_record(
    use_case: ForWorkers[Asked, Result],
    attempt: Attempt[Asked],
    read: Callable[[], Awaitable[None]],
) -> Result:
    """``read`` completes the attempt, once the worker is admitted."""

    async def work() -> Result:
        use_case.admit(attempt.worker)
        await read()
        if attempt.request is None:
            raise RuntimeError("the attempt was not read")
        return await use_case(attempt.worker, attempt.request_id, attempt.request)

    return await on_record(use_case, attempt, work)


async def on_record(
    use_case: RefusalsOnRecord[Asked],
    attempt: Attempt[Asked],
    work: Callable[[], Awaitable[Result]],
) -> Result:
    """Whatever ``work`` refuses is on record before it is raised."""
    refusal = None
    try:
        return await work()
    except AuditUnavailableError:
        raise
    except PaymentTokenError as error:
        refusal = error
    if isinstance(refusal, CleartextCardDataError):
        await note_cleartext_of_worker(use_case.device_events, refusal.field)
    await use_case.record_refusal(attempt.worker, attempt.request_id, attempt.request, refusal)
    raise refusal
