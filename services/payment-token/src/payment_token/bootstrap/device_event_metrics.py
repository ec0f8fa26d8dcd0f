"""Events of terminals, as operators count them."""

from prometheus_client import CollectorRegistry, Counter

from payment_token.domain.device_events import DeviceEventKind


class DeviceEventMetrics:
    """Labels are the kinds of events, and the two reasons for which one is not kept."""

    def __init__(self) -> None:
        self._noted = Counter(
            "payment_token_device_events_total",
            "What terminals did that an operator should hear of, by kind.",
            ("kind",),
            registry=None,
        )
        self._lost = Counter(
            "payment_token_device_events_lost_total",
            "Events that are counted here and kept nowhere: there were too many, or the database was away.",
            ("reason",),
            registry=None,
        )

    def register_in(self, registry: CollectorRegistry) -> None:
        for collector in (self._noted, self._lost):
            registry.register(collector)

    def noted(self, kind: DeviceEventKind) -> None:
        self._noted.labels(kind.value).inc()

    def lost(self, reason: str, events: int) -> None:
        self._lost.labels(reason).inc(events)
