"""Release: a worker gets card data back, once the record of that release is durable.

1. the policy must grant the worker this merchant, purpose and set of fields, and its rate must allow one request more
2. read the sealed token; another merchant's is as unknown as any
3. it must be neither revoked nor expired
4. open what was asked for, and charge it to the worker's budget
5. write the audit record, in a transaction that finds the token still alive
6. only then answer
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome, Receipt
from payment_token.domain.card_data import PANPart, SADPart, decode_pan_part, decode_sad_part
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.errors import (
    AuditUnavailableError,
    OverWorkerLimitError,
    PaymentTokenError,
    RecordIntegrityFailureError,
    TokenNotFoundError,
)
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.keys import NamedKey
from payment_token.domain.limit_refusals import LimitRefusals
from payment_token.domain.ports import (
    AuditLog,
    Clock,
    TokenChangedError,
    TokenStore,
    VersionedKeys,
    WorkerPolicies,
)
from payment_token.domain.sealing import Purpose, SealedRecord, open_record
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.token import SADStatus, StoredToken, Token
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_limits import WorkerLimits
from payment_token.domain.worker_policy import Asked, ReleaseField, Worker

_ATTEMPTS = 3

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """``payment_token`` is text as received: what cannot be a token id is an unknown token."""

    payment_token: str
    merchant_id: MerchantId
    purpose: str
    fields: frozenset[ReleaseField]


@dataclass(frozen=True, slots=True)
class Released:
    """Card data on its way to a worker. What was not asked for is ``None``."""

    token: Token
    fields: frozenset[ReleaseField]
    pan_part: PANPart
    sad_part: SADPart | None
    sad_status: SADStatus
    event: AuditEvent
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class _Opened:
    stored: StoredToken
    pan_part: PANPart
    pan_key: str
    sad_part: SADPart | None
    sad_status: SADStatus


class Release:
    def __init__(
        self,
        *,
        environment: str,
        clock: Clock,
        store: TokenStore,
        audit_log: AuditLog,
        policies: WorkerPolicies,
        service_keys: VersionedKeys,
        epoch_keys: VersionedKeys,
        limits: WorkerLimits,
        limit_refusals: LimitRefusals,
        device_events: DeviceEvents,
    ) -> None:
        self.device_events = device_events
        self._environment = environment
        self._clock = clock
        self._store = store
        self._audit_log = audit_log
        self._policies = policies
        self._service_keys = service_keys
        self._epoch_keys = epoch_keys
        self._limits = limits
        self._limit_refusals = limit_refusals

    def admit(self, worker: Worker) -> None:
        """Before anything that the worker sent is read.

        Raises UnauthenticatedError for one without an identity, ForbiddenError for one that the policy does not know.
        """
        self._policies.current().check_known(worker)

    async def __call__(
        self, worker: Worker, request_id: RequestId, request: ReleaseRequest
    ) -> Released:
        # 1. before the token's id is looked at: guessing costs as much as knowing
        grant = self._policies.current().check(
            worker,
            Asked(request.merchant_id, purpose=request.purpose, fields=request.fields),
        )
        await self._limits.take_permit(worker.identity, grant.rate)
        token_id = TokenId.parse(request.payment_token)
        # 2. to 4.
        opened = await self._open(request, token_id)
        await self._limits.charge(worker.identity, grant.budget, token_id)
        for _ in range(_ATTEMPTS):
            event = AuditEvent(
                EventKind.DECRYPT,
                Outcome.RELEASED,
                _actor(worker),
                request_id=request_id,
                merchant_id=request.merchant_id,
                token_id=token_id,
                purpose=request.purpose,
                fields=_released_fields(request, opened),
                key_name=opened.pan_key,
            )
            # 5.
            try:
                receipt = await self._audit_log.record_release(
                    event, with_sad=opened.sad_part is not None
                )
            except TokenChangedError:
                opened = await self._open(request, token_id)
                continue
            # 6.
            return Released(
                token=opened.stored.token,
                fields=request.fields,
                pan_part=opened.pan_part,
                sad_part=opened.sad_part,
                sad_status=opened.sad_status,
                event=event,
                receipt=receipt,
            )
        raise AuditUnavailableError

    def take_back(self, released: Released) -> None:
        """Its card data did not leave: the caller had been told of an outage before it was ready."""
        self._audit_log.take_back(released.event, released.receipt)

    async def record_refusal(
        self,
        worker: Worker,
        request_id: RequestId,
        request: ReleaseRequest | None,
        error: PaymentTokenError,
    ) -> None:
        """Writes the record of a request that ``error`` ended. ``request`` is ``None`` when it was not readable.

        Of requests over the worker's limits, as far as :class:`LimitRefusals` has each recorded.
        """
        event = AuditEvent(
            EventKind.DECRYPT,
            Outcome.REFUSED,
            _actor(worker),
            code=error.code,
            request_id=request_id,
        )
        if request is not None:
            event = replace(
                event,
                merchant_id=request.merchant_id,
                token_id=TokenId.readable(request.payment_token),
                purpose=request.purpose,
                fields=request.fields,
            )
        if isinstance(error, OverWorkerLimitError):
            await self._limit_refusals.record(event, error)
        else:
            await self._audit_log.record(event)

    async def _open(self, request: ReleaseRequest, token_id: TokenId) -> _Opened:
        for _ in range(_ATTEMPTS):
            stored = await self._store.get(request.merchant_id, token_id)
            if stored is None:
                raise TokenNotFoundError
            now = self._clock.now()
            stored.token.check_usable(now)
            if stored.sealed_pan is None:
                raise RecordIntegrityFailureError
            record = SealedRecord.from_bytes(stored.sealed_pan)
            key = await self._service_keys.named(record.key_name)
            if key is None:
                # Re-encryption may have moved the record since it was read, and its old key be gone: read it again.
                continue
            pan_part = self._open_pan(stored.token, record, key)
            sad_part, sad_status = await self._open_sad(request, stored, now)
            return _Opened(stored, pan_part, key.name, sad_part, sad_status)
        raise RecordIntegrityFailureError

    def _open_pan(self, token: Token, record: SealedRecord, key: NamedKey) -> PANPart:
        plaintext = open_record(
            record, key, token.binding(Purpose.PAN, self._environment, token.expires_at)
        )
        return _decoded(decode_pan_part, plaintext)

    async def _open_sad(
        self, request: ReleaseRequest, stored: StoredToken, now: datetime
    ) -> tuple[SADPart | None, SADStatus]:
        status = stored.sad_status(now)
        if ReleaseField.SAD not in request.fields or status is not SADStatus.LIVE:
            return None, status
        if stored.sealed_sad is None or stored.sad_deadline is None:
            raise RecordIntegrityFailureError
        record = SealedRecord.from_bytes(stored.sealed_sad)
        key = await self._epoch_keys.named(record.key_name)
        if key is None:
            # The epoch key is gone everywhere: no process lived through a crash of the database. Nothing opens it now.
            return None, SADStatus.DESTROYED
        plaintext = open_record(
            record, key, stored.token.binding(Purpose.SAD, self._environment, stored.sad_deadline)
        )
        return _decoded(decode_sad_part, plaintext), status


def _actor(worker: Worker) -> Actor:
    return Actor(worker.identity, worker.source, worker.certificate_sha256)


def _released_fields(request: ReleaseRequest, opened: _Opened) -> frozenset[ReleaseField]:
    return request.fields if opened.sad_part is not None else request.fields - {ReleaseField.SAD}


def _decoded(decode: Callable[[SensitiveBytes], Part], plaintext: SensitiveBytes) -> Part:
    part = None
    try:
        part = decode(plaintext)
    except ValueError:
        pass
    if part is None:
        raise RecordIntegrityFailureError
    return part
