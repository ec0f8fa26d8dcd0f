"""API keys are made and ended on record: first the record, then the change."""

from typing import Protocol

from payment_token.domain.api_key import APIKey
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.ports import AuditLog


class ChangedAPIKeys(Protocol):
    async def find(self, key_id: str) -> APIKey | None: ...

    async def add(self, key: APIKey) -> None: ...

    async def revoke(self, key_id: str) -> bool:
        """``False`` when there is no such key. Again is fine."""
        ...


class ChangeAPIKeys:
    def __init__(self, *, store: ChangedAPIKeys, audit_log: AuditLog, operator: Actor) -> None:
        self._store = store
        self._audit_log = audit_log
        self._operator = operator

    async def add(self, key: APIKey) -> None:
        await self._record(EventKind.API_KEY_CREATED, key)
        await self._store.add(key)

    async def revoke(self, key_id: str) -> bool:
        """``False`` when there is no such key. Again is fine."""
        key = await self._store.find(key_id)
        if key is None:
            return False
        if key.revoked_at is None:
            await self._record(EventKind.API_KEY_REVOKED, key)
        return await self._store.revoke(key_id)

    async def _record(self, kind: EventKind, key: APIKey) -> None:
        details = {"key_id": key.key_id, "name": key.name, "merchants": ",".join(key.merchants)}
        await self._audit_log.record(
            AuditEvent(kind, Outcome.DONE, self._operator, details=details)
        )
