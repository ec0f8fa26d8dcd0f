"""New tokens with sealed records that are just bytes: for tests of stores, which do not open them."""

import itertools
import os
from datetime import datetime, timedelta

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.card_data import Brand, CardChecks, EntryMode, MaskedCard
from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.identifiers import DeviceId, MerchantId, RequestId
from payment_token.domain.token import (
    Claim,
    DeviceBinding,
    NewToken,
    StoredToken,
    Token,
    TokenStatus,
)
from payment_token.domain.token_id import RANDOM_BYTES, TokenId
from payment_token.domain.worker_policy import ReleaseField

WORKER = Actor("spiffe://example.org/w", "127.0.0.1:5", b"\x01" * 32)

_COUNTERS = itertools.count(1)

CARD = MaskedCard(
    brand=Brand.VISA,
    bin="411111",
    last4="1111",
    exp_month=12,
    exp_year=2030,
    entry_mode=EntryMode.SWIPE,
    checks=CardChecks(luhn=True, expired=False, expiry_valid=True),
)


def new_token(
    now: datetime,
    *,
    merchant_id: str = "m_1",
    key: str | None = None,
    fingerprint: bytes = b"f" * 32,
    ttl: timedelta = timedelta(hours=1),
    sad_ttl: timedelta | None = timedelta(minutes=30),
    service_key: str = "v1",
    initial_key_id: bytes | None = None,
    device_id: str = "d_1",
    counters: tuple[int, ...] | None = None,
    replay_rule: ReplayRule = ReplayRule.REJECT,
) -> NewToken:
    """Without ``counters`` the next one after all that were given before, so that it is fresh wherever it is used."""
    expires_at = now + ttl
    token_id = TokenId.new(os.urandom(RANDOM_BYTES), expires_at)
    token = Token(
        token_id,
        MerchantId(merchant_id),
        TokenStatus.ACTIVE,
        now,
        expires_at,
        CARD,
        {"order": "A-100"},
    )
    return NewToken(
        stored=StoredToken(
            token,
            sealed_pan=b"pan",
            sealed_sad=None if sad_ttl is None else b"sad",
            sad_deadline=None if sad_ttl is None else now + sad_ttl,
            sad_destroyed_at=None,
        ),
        service_key=service_key,
        idempotency_key=key or os.urandom(8).hex(),
        claim=Claim(token_id, fingerprint, "v1"),
        binding=DeviceBinding(
            "b_1",
            initial_key_id or os.urandom(8),
            DeviceId(device_id),
            counters or (next(_COUNTERS),),
            replay_rule,
        ),
    )


def release_of(token: Token) -> AuditEvent:
    """The event of a release that asked for the PAN."""
    return AuditEvent(
        EventKind.DECRYPT,
        Outcome.RELEASED,
        WORKER,
        request_id=RequestId("r-1"),
        merchant_id=token.merchant_id,
        token_id=token.token_id,
        purpose="capture",
        fields=frozenset({ReleaseField.PAN}),
        key_name="v1",
    )
