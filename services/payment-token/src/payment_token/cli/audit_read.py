"""Whoever reads the audit log is in it, before anything is shown (PCI DSS 10.2.1.3)."""

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.deployment import with_audit_log
from payment_token.cli.free_text import checked_text
from payment_token.domain.audit import AuditEvent, EventKind, Outcome
from payment_token.domain.ports import AuditLog
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import Settings


async def record_reading(log: AuditLog, command: str, **asked: str | None) -> None:
    """``asked`` is what was looked for. Raises AuditUnavailableError: then nothing is shown."""
    details = {
        name: checked_text(f"--{name}", value) for name, value in asked.items() if value is not None
    }
    await log.record(
        AuditEvent(
            EventKind.AUDIT_READ,
            Outcome.DONE,
            this_operator(),
            details={**details, "command": command},
        )
    )


def record_audit_read(settings: Settings, command: str, **asked: str | None) -> None:
    """For a command that then reads the log by itself, as a verifier does. Raises as above."""

    async def record(_: Pool, log: PostgresAuditLog) -> None:
        await record_reading(log, command, **asked)

    with_audit_log(settings, record)
