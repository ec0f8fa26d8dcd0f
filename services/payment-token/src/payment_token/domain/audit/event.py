"""What is recorded: every release and refusal, and whatever changes who may have what, or what there is to have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from payment_token.domain.audit.receipt import Receipt
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField


class EventKind(StrEnum):
    """``NOT_RELEASED`` takes a decrypt back: its record is there, and the card data never left.

    ``REQUESTS_REFUSED`` counts requests over a worker's limits that have no record each.
    """

    DECRYPT = "decrypt"
    NOT_RELEASED = "not_released"
    REQUESTS_REFUSED = "requests_refused"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - the name of an event
    AUTHORIZATION_COMPLETED = "authorization_completed"
    TOKENS_PURGED = "tokens_purged"
    API_KEY_CREATED = "api_key_created"
    API_KEY_ROTATED = "api_key_rotated"
    API_KEY_EXPIRY_CHANGED = "api_key_expiry_changed"
    API_KEY_REVOKED = "api_key_revoked"
    POLICY_LOADED = "policy_loaded"
    KEY_CHANGED = "key_changed"
    DEVICE_REGISTERED = "device_registered"
    DEVICE_STATE_CHANGED = "device_state_changed"
    DEVICE_COUNTER_RESET = "device_counter_reset"
    DEVICE_PROFILE_CHANGED = "device_profile_changed"
    KSN_UNBARRED = "ksn_unbarred"
    HANDSHAKE_REFUSED = "handshake_refused"
    AUDIT_READ = "audit_read"
    LOG_OPENED = "log_opened"
    LOG_CLOSED = "log_closed"
    LOG_RECOVERED = "log_recovered"
    LEGAL_HOLD_PLACED = "legal_hold_placed"
    LEGAL_HOLD_RELEASED = "legal_hold_released"
    MONTH_ARCHIVED = "month_archived"
    MONTH_DETACHED = "month_detached"


class Outcome(StrEnum):
    RELEASED = "released"
    REFUSED = "refused"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who, and from where.

    ``identity`` is the one of a worker's certificate, or ``api-key:ID``, ``operator:USER``, ``service:NAME``. It is empty
    where a certificate does not name exactly one.
    """

    identity: str
    source: str = ""
    certificate_sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What a refused request named is recorded as far as it was readable, else it is ``None``.

    ``details`` are texts and numbers. When it happened is said by whoever writes it: the moment at which it is written.
    """

    kind: EventKind
    outcome: Outcome
    actor: Actor
    code: str = "ok"
    request_id: RequestId | None = None
    merchant_id: MerchantId | None = None
    token_id: TokenId | None = None
    purpose: str | None = None
    fields: frozenset[ReleaseField] = frozenset()
    key_name: str | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)


def not_released(event: AuditEvent, receipt: Receipt) -> AuditEvent:
    """Takes a release back: ``event`` may be in the log, with that receipt, and its card data never left."""
    return AuditEvent(
        kind=EventKind.NOT_RELEASED,
        outcome=Outcome.DONE,
        actor=event.actor,
        request_id=event.request_id,
        merchant_id=event.merchant_id,
        token_id=event.token_id,
        details={
            "writer_id": receipt.writer_id.hex,
            "sequence": receipt.sequence,
            "record_sha256": receipt.record_hash.hex(),
        },
    )
