"""What is done to keys, in the audit log as well: beside whoever did it, and before it is done."""

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.key_life.key_event import KeyEvent
from payment_token.domain.ports import AuditLog


class AuditedKeyChanges:
    def __init__(self, audit_log: AuditLog, actor: Actor) -> None:
        self._audit_log = audit_log
        self._actor = actor

    async def record(self, event: KeyEvent) -> None:
        """Raises AuditUnavailableError: then the change is not to be made."""
        await self._audit_log.record(
            AuditEvent(
                EventKind.KEY_CHANGED,
                Outcome.DONE,
                self._actor,
                key_name=event.version,
                details={**event.details, "change": event.kind.value, "key": event.purpose.value},
            )
        )
