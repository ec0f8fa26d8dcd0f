"""What is done to keys, signed with the active audit signing key, and in the audit log before it is done."""

from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.key_event import (
    KeyEvent,
    KeyEventKind,
    SignedStatement,
    sign,
)
from payment_token.domain.key_life.version import KeyVersion
from payment_token.domain.ports import Clock, VersionedKeys


class KeyHistory:
    def __init__(
        self, clock: Clock, signing_keys: VersionedKeys, changes: AuditedKeyChanges
    ) -> None:
        self._clock = clock
        self._signing_keys = signing_keys
        self._changes = changes

    async def check_can_sign(self) -> None:
        """Before anything is done that must be signed afterwards."""
        await self._signing_keys.active()

    async def statement(
        self, kind: KeyEventKind, version: KeyVersion, **details: str | int
    ) -> SignedStatement:
        event = KeyEvent(
            kind, version.purpose, version.version, self._clock.now(), version.environment, details
        )
        signed = sign(event, await self._signing_keys.active())
        await self._changes.record(event)
        return signed
