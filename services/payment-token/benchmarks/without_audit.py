"""The service, but for its audit log: what a decrypt costs without a record. For comparison, and for nothing else."""

from uuid import UUID

from payment_token.cli import serve_many
from payment_token.cli.main import main
from payment_token.domain.audit import AuditEvent, Receipt
from payment_token.infrastructure.database.audit_log import PostgresAuditLog

_RECEIPT = Receipt(UUID(int=0), 0, bytes(32))


async def _not_recorded(_: PostgresAuditLog, event: AuditEvent, *, with_sad: bool) -> Receipt:
    del event, with_sad
    return _RECEIPT


PostgresAuditLog.record_release = _not_recorded  # type: ignore[method-assign]
serve_many.MODULE = "benchmarks.without_audit"

if __name__ == "__main__":
    main()
