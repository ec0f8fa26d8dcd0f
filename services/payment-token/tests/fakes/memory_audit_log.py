"""An audit log in memory. ``fails`` makes it one that cannot write."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from payment_token.domain.audit import AuditEvent, Chain, Receipt, not_released
from payment_token.domain.errors import AuditUnavailableError, TokenGoneError
from payment_token.domain.ports import TokenChangedError
from payment_token.domain.token import SADStatus
from tests.fakes.memory_token_store import MemoryTokenStore


class MemoryAuditLog:
    def __init__(self, store: MemoryTokenStore, now: Callable[[], datetime]) -> None:
        self.events: list[AuditEvent] = []
        self.receipts: list[Receipt] = []
        self.fails = False
        self._store = store
        self._now = now
        self._chain = Chain(UUID(int=7))

    async def record(self, event: AuditEvent) -> Receipt:
        if self.fails:
            raise AuditUnavailableError
        (record,) = self._chain.draft([event], self._now())
        self._chain.advance(record)
        self.events.append(event)
        self.receipts.append(record.receipt)
        return record.receipt

    def take_back(self, event: AuditEvent, receipt: Receipt) -> None:
        self.events.append(not_released(event, receipt))

    async def record_release(self, event: AuditEvent, *, with_sad: bool) -> Receipt:
        if self.fails:
            raise AuditUnavailableError
        assert event.merchant_id is not None
        assert event.token_id is not None
        stored = await self._store.get(event.merchant_id, event.token_id)
        if stored is None or (with_sad and stored.sad_status(self._now()) is not SADStatus.LIVE):
            raise TokenChangedError
        try:
            stored.token.check_usable(self._now())
        except TokenGoneError:
            raise TokenChangedError from None
        return await self.record(event)
