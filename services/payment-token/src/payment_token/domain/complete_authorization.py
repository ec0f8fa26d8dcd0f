"""A worker says that an authorisation is complete: the SAD of its token ends (PCI DSS 4.0.1, 3.3.1).

1. the policy must grant the worker this operation for this merchant, and its rate must have room
2. read the token; another merchant's is as unknown as any. One that was revoked or has expired is completed all the same:
   whoever asks again must not be punished for what happened meanwhile
3. without SAD there is nothing to end, and the record says that it was asked for
4. shred the SAD, and write the record while no release can find it alive: in the log, no release of SAD follows it
5. only then answer

Again is fine: the times stay the first ones, and each time is a record of its own, with its receipt.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome, Receipt
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.errors import OverWorkerLimitError, PaymentTokenError, TokenNotFoundError
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.limit_refusals import LimitRefusals
from payment_token.domain.ports import AuditLog, TokenStore, WorkerPolicies
from payment_token.domain.token import SADStatus
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_limits import WorkerLimits
from payment_token.domain.worker_policy import Asked, Operation, Worker


class AuthorizationOutcome(StrEnum):
    """How it ended. Whatever it says, the SAD ends: it may not be kept for a decline either."""

    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """``payment_token`` is text as received: what cannot be a token id is an unknown token."""

    payment_token: str
    merchant_id: MerchantId
    outcome: AuthorizationOutcome


@dataclass(frozen=True, slots=True)
class Completed:
    """``sad_status`` is ``none``, ``destroyed``, or ``expired`` where its deadline came first.

    ``sad_destroyed_at`` is when the sealed SAD was shredded, ``unrecoverable_from`` when no copy of it, in backups
    included, can be opened any more: the death of its epoch key. Both are ``None`` for a token without SAD.
    """

    sad_status: SADStatus
    sad_destroyed_at: datetime | None
    unrecoverable_from: datetime | None
    receipt: Receipt


class CompleteAuthorization:
    def __init__(
        self,
        *,
        store: TokenStore,
        audit_log: AuditLog,
        policies: WorkerPolicies,
        limits: WorkerLimits,
        limit_refusals: LimitRefusals,
        device_events: DeviceEvents,
    ) -> None:
        self.device_events = device_events
        self._store = store
        self._audit_log = audit_log
        self._policies = policies
        self._limits = limits
        self._limit_refusals = limit_refusals

    def admit(self, worker: Worker) -> None:
        """Before anything that the worker sent is read. Raises UnauthenticatedError, ForbiddenError."""
        self._policies.current().check_known(worker)

    async def __call__(
        self, worker: Worker, request_id: RequestId, request: CompletionRequest
    ) -> Completed:
        """Raises ForbiddenError, OverWorkerLimitError, TokenNotFoundError."""
        # 1.
        grant = self._policies.current().check(
            worker, Asked(request.merchant_id, Operation.AUTHORIZATION_COMPLETE)
        )
        await self._limits.take_permit(worker.identity, grant.rate)
        # 2.
        token_id = TokenId.parse(request.payment_token)
        stored = await self._store.get(request.merchant_id, token_id)
        if stored is None:
            raise TokenNotFoundError
        event = _event(worker, request_id, request, token_id)
        # 3.
        if stored.sad_deadline is None:
            return Completed(SADStatus.NONE, None, None, await self._audit_log.record(event))
        # 4.
        receipts = []

        async def record() -> None:
            receipts.append(await self._audit_log.record(event))

        end = await self._store.end_sad(request.merchant_id, token_id, record)
        if end is None:
            raise TokenNotFoundError
        # 5.
        in_time = end.destroyed_at < stored.sad_deadline
        return Completed(
            SADStatus.DESTROYED if in_time else SADStatus.EXPIRED,
            end.destroyed_at,
            end.unrecoverable_from,
            receipts[0],
        )

    async def record_refusal(
        self,
        worker: Worker,
        request_id: RequestId,
        request: CompletionRequest | None,
        error: PaymentTokenError,
    ) -> None:
        """Writes the record of a request that ``error`` ended. ``request`` is ``None`` when it was not readable."""
        token_id = None if request is None else TokenId.readable(request.payment_token)
        event = _event(worker, request_id, request, token_id)
        refused = replace(event, outcome=Outcome.REFUSED, code=error.code)
        if isinstance(error, OverWorkerLimitError):
            await self._limit_refusals.record(refused, error)
        else:
            await self._audit_log.record(refused)


def _event(
    worker: Worker,
    request_id: RequestId,
    request: CompletionRequest | None,
    token_id: TokenId | None,
) -> AuditEvent:
    return AuditEvent(
        EventKind.AUTHORIZATION_COMPLETED,
        Outcome.DONE,
        Actor(worker.identity, worker.source, worker.certificate_sha256),
        request_id=request_id,
        merchant_id=None if request is None else request.merchant_id,
        token_id=token_id,
        details={} if request is None else {"authorization": request.outcome.value},
    )
