"""What the continuous verification of the audit log measures."""

from prometheus_client import CollectorRegistry, Gauge


class VerificationMetrics:
    def __init__(self) -> None:
        self.records = _gauge(
            "payment_token_audit_verified_records",
            "Audit records that the last verification looked at: those of the last hour.",
        )
        self.findings = _gauge(
            "payment_token_audit_verification_findings",
            "What the last verification found that is not as it was sealed: an alarm if it is not 0.",
        )
        self.unsealed = _gauge(
            "payment_token_audit_unsealed_records",
            "Audit records without a seal, as of the last verification: gaps keep the records after them from theirs.",
        )
        self.seconds = _gauge(
            "payment_token_audit_verification_seconds", "How long the last verification took."
        )
        self.verified_at = _gauge(
            "payment_token_audit_verified_timestamp_seconds",
            "When the audit log was last verified, as a Unix time.",
        )

    def register_in(self, registry: CollectorRegistry) -> None:
        for collector in (
            self.records,
            self.findings,
            self.unsealed,
            self.seconds,
            self.verified_at,
        ):
            registry.register(collector)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(name, text, registry=None, multiprocess_mode="livemax")
