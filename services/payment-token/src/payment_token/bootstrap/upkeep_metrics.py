"""What a process that maintains counts and measures of it."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from payment_token.domain.end_overdue_sad import EndedSAD


class UpkeepMetrics:
    def __init__(self) -> None:
        self._ended = Counter(
            "payment_token_overdue_sad_ended_total",
            "Tokens whose SAD was ended because its deadline had passed: no worker has completed their authorisation.",
            registry=None,
        )
        self._latest = Gauge(
            "payment_token_overdue_sad_late_seconds",
            "How long after its deadline the oldest SAD of the last such run was ended.",
            registry=None,
            multiprocess_mode="livemax",
        )

    def register_in(self, registry: CollectorRegistry) -> None:
        for collector in (self._ended, self._latest):
            registry.register(collector)

    def note(self, ended: EndedSAD) -> None:
        self._ended.inc(ended.tokens)
        self._latest.set(ended.latest.total_seconds())
