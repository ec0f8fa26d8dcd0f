"""Whoever reads the audit log is in it, before anything is shown (PCI DSS 10.2.1.3)."""

from payment_token.bootstrap.audit import this_operator
from payment_token.domain.audit import AuditEvent, EventKind, Outcome
from payment_token.domain.ports import AuditLog


async def record_reading(log: AuditLog, command: str, **asked: str | None) -> None:
    """``asked`` is what was looked for. Raises AuditUnavailableError: then nothing is shown."""
    details = {name: value for name, value in asked.items() if value is not None}
    await log.record(
        AuditEvent(
            EventKind.AUDIT_READ,
            Outcome.DONE,
            this_operator(),
            details={**details, "command": command},
        )
    )
