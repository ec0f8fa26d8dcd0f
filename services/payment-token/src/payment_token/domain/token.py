"""A payment token as the service keeps it, and what may be said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payment_token.domain.card_data import MaskedCard
from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.errors import TokenExpiredError, TokenRevokedError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.sealing import Binding, Purpose
from payment_token.domain.token_id import TokenId


class TokenStatus(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"


class SADStatus(StrEnum):
    """Where a token's sensitive authentication data stands (PCI DSS 3.3.1)."""

    NONE = "none"
    LIVE = "live"
    EXPIRED = "expired"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Token:
    """What anyone but an authorised worker may see: the masked view."""

    token_id: TokenId
    merchant_id: MerchantId
    status: TokenStatus
    created_at: datetime
    expires_at: datetime
    card: MaskedCard
    metadata: Mapping[str, str]

    def check_usable(self, now: datetime) -> None:
        """Raises TokenRevokedError or TokenExpiredError. The instant ``expires_at`` itself is already past."""
        if self.status is TokenStatus.REVOKED:
            raise TokenRevokedError(self.token_id.text)
        if now >= self.expires_at:
            raise TokenExpiredError(self.token_id.text)

    def binding(self, purpose: Purpose, environment: str, ends_at: datetime) -> Binding:
        """What a sealed record of this token is bound to."""
        return Binding(purpose, self.merchant_id, self.token_id, environment, ends_at)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token with its sealed records. A revoked token has none: revoking shreds them."""

    token: Token
    sealed_pan: bytes | None
    sealed_sad: bytes | None
    sad_deadline: datetime | None
    sad_destroyed_at: datetime | None

    def sad_status(self, now: datetime) -> SADStatus:
        if self.sad_deadline is None:
            return SADStatus.NONE
        if self.sad_destroyed_at is None:
            return SADStatus.LIVE if now < self.sad_deadline else SADStatus.EXPIRED
        # What was over is shredded soon after its deadline, and is over all the same.
        in_time = self.sad_destroyed_at < self.sad_deadline
        return SADStatus.DESTROYED if in_time else SADStatus.EXPIRED


@dataclass(frozen=True, slots=True)
class SADEnd:
    """When sealed SAD was shredded, and when its epoch key dies: from then on no copy of it opens, in backups neither."""

    destroyed_at: datetime
    unrecoverable_from: datetime


@dataclass(frozen=True, slots=True)
class DeviceBinding:
    """An initial key belongs to one device of one merchant. It is bound with the first token that it decrypts.

    ``counters`` are the transactions of that key that the read used up: the counter of a KSN, or of each part's nonce.
    """

    bdk_id: str
    initial_key_id: bytes
    device_id: DeviceId
    counters: tuple[int, ...]
    replay_rule: ReplayRule = ReplayRule.REJECT


@dataclass(frozen=True, slots=True)
class Claim:
    """An idempotency key in use: which token it made, and a keyed hash of the request that made it."""

    token_id: TokenId
    fingerprint: bytes
    fingerprint_key: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """Everything that one transaction writes: token, idempotency claim, device binding."""

    stored: StoredToken
    service_key: str
    idempotency_key: str
    claim: Claim
    binding: DeviceBinding
