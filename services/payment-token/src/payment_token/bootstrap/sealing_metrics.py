"""What a sealer counts and measures of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class SealingMetrics:
    def __init__(self) -> None:
        self.records = Counter(
            "payment_token_audit_sealed_records_total",
            "Audit records that this sealer has sealed.",
            registry=None,
        )
        self.tree_size = _gauge("payment_token_audit_tree_size", "Audit records that are sealed.")
        self.lag = _gauge(
            "payment_token_audit_seal_lag_seconds",
            "How old the oldest record of the last seal was when it was sealed; how long sealing has failed, where it does.",
        )
        self.refused = _gauge(
            "payment_token_audit_refused_writers",
            "Writers whose next record is not what it must be: an alarm. Their records are not sealed.",
        )
        self.unpublished = _gauge(
            "payment_token_audit_unpublished_seconds",
            "How long the last checkpoint has waited for the place outside the database that is furthest behind.",
        )

    def register_in(self, registry: CollectorRegistry) -> None:
        for collector in (
            self.records,
            self.tree_size,
            self.lag,
            self.refused,
            self.unpublished,
        ):
            registry.register(collector)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(name, text, registry=None, multiprocess_mode="livemax")
