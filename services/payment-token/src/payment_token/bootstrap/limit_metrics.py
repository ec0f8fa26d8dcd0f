"""Requests over workers' limits, as operators count them."""

from prometheus_client import CollectorRegistry, Counter


class LimitMetrics:
    """Labels are the workers of the policy that have limits, and the names of the two limits."""

    def __init__(self) -> None:
        self._refused = Counter(
            "payment_token_worker_requests_over_limit_total",
            "Requests of workers that their rate or their budget of tokens refused.",
            ("limit", "worker"),
            registry=None,
        )

    def register_in(self, registry: CollectorRegistry) -> None:
        registry.register(self._refused)

    def note(self, limit: str, worker: str) -> None:
        self._refused.labels(limit, worker).inc()
