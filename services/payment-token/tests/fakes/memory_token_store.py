"""A token store in memory, for tests of the use cases. It passes the same contract tests as PostgreSQL."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from payment_token.domain.counter_window import CounterVerdict, CounterWindow, ReplayRule
from payment_token.domain.errors import KSNBehindWindowError, KSNReplayedError, UnknownDeviceError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.ports import InactiveKeyError
from payment_token.domain.token import Claim, NewToken, SADEnd, StoredToken, TokenStatus
from payment_token.domain.token_id import TokenId


class MemoryTokenStore:
    def __init__(
        self, now: Callable[[], datetime], window: timedelta, active_service_key: str = "v1"
    ) -> None:
        self.active_service_key = active_service_key
        self._now = now
        self._window = window
        self._tokens: dict[tuple[MerchantId, str], StoredToken] = {}
        self._claims: dict[tuple[MerchantId, str], tuple[Claim, datetime]] = {}
        self._owners: dict[tuple[str, bytes], tuple[MerchantId, DeviceId]] = {}
        self._windows: dict[tuple[str, bytes], CounterWindow] = {}

    async def find_claim(self, merchant_id: MerchantId, idempotency_key: str) -> Claim | None:
        claim, until = self._claims.get((merchant_id, idempotency_key), (None, self._now()))
        return claim if self._now() < until else None

    async def create(self, new: NewToken) -> Claim | CounterVerdict:
        token = new.stored.token
        if new.service_key != self.active_service_key:
            raise InactiveKeyError
        initial_key = (new.binding.bdk_id, new.binding.initial_key_id)
        owner = (token.merchant_id, new.binding.device_id)
        if self._owners.get(initial_key, owner) != owner:
            raise UnknownDeviceError
        held = await self.find_claim(token.merchant_id, new.idempotency_key)
        if held is not None:
            return held
        window = self._windows.get(initial_key, CounterWindow())
        verdict = window.verdict(new.binding.counters)
        if not verdict.is_fresh and new.binding.replay_rule is ReplayRule.REJECT:
            replayed = verdict is CounterVerdict.REPLAYED
            raise KSNReplayedError if replayed else KSNBehindWindowError
        self._windows[initial_key] = window.used(new.binding.counters)
        self._owners[initial_key] = owner
        self._claims[token.merchant_id, new.idempotency_key] = (
            new.claim,
            self._now() + self._window,
        )
        self._tokens[token.merchant_id, token.token_id.text] = new.stored
        return CounterVerdict.FRESH if new.binding.replay_rule is ReplayRule.OFF else verdict

    async def get(self, merchant_id: MerchantId, token_id: TokenId) -> StoredToken | None:
        return self._tokens.get((merchant_id, token_id.text))

    async def revoke(self, merchant_id: MerchantId, token_id: TokenId) -> bool:
        stored = self._tokens.get((merchant_id, token_id.text))
        if stored is None:
            return False
        ended = stored.sad_destroyed_at or (self._now() if stored.sad_deadline else None)
        self._tokens[merchant_id, token_id.text] = replace(
            stored,
            token=replace(stored.token, status=TokenStatus.REVOKED),
            sealed_pan=None,
            sealed_sad=None,
            sad_destroyed_at=ended,
        )
        return True

    async def end_sad(
        self,
        merchant_id: MerchantId,
        token_id: TokenId,
        record: Callable[[], Awaitable[None]],
    ) -> SADEnd | None:
        stored = self._tokens.get((merchant_id, token_id.text))
        if stored is None or stored.sad_deadline is None:
            return None
        name = (merchant_id, token_id.text)
        ended = replace(
            stored, sealed_sad=None, sad_destroyed_at=stored.sad_destroyed_at or self._now()
        )
        self._tokens[name] = ended
        try:
            await record()
        except BaseException:
            self._tokens[name] = stored
            raise
        assert ended.sad_destroyed_at is not None
        return SADEnd(
            ended.sad_destroyed_at, stored.token.created_at + timedelta(hours=48, minutes=1)
        )

    def tamper(self, merchant_id: MerchantId, token_id: TokenId, **changes: object) -> None:
        """What somebody with access to the database could do to a row."""
        stored = self._tokens[merchant_id, token_id.text]
        self._tokens[merchant_id, token_id.text] = replace(stored, **changes)  # type: ignore[arg-type]
