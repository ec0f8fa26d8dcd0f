"""What is known of every request afterwards: its id, one log line, its counts. And the last line of defence.

Routes are named by their template, so that neither a log line nor a metric carries what a caller put into a path.
"""

import logging
import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from payment_token.api.rest.request_context import assign_request_id
from payment_token.domain.identifiers import RequestId

logger = logging.getLogger(__name__)

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_CODE = "payment_token.code"


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    registry: CollectorRegistry = field(
        default_factory=lambda: CollectorRegistry(auto_describe=True)
    )
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    handshakes_refused: Counter = field(init=False)
    batch_items: Counter = field(init=False)

    def __post_init__(self) -> None:
        requests = Counter(
            "payment_token_requests_total",
            "Requests by listener, route, method, status (of HTTP, or of gRPC) and error code ('ok' for none).",
            ("listener", "route", "method", "status", "code"),
            registry=self.registry,
        )
        seconds = Histogram(
            "payment_token_request_seconds",
            "Time from the first byte of a request's head to the last byte of its answer.",
            ("listener", "route", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        handshakes_refused = Counter(
            "payment_token_handshakes_refused_total",
            "TLS handshakes of the internal listeners that failed, by class of reason.",
            ("reason",),
            registry=self.registry,
        )
        batch_items = Counter(
            "payment_token_batch_items_total",
            "Items of batches that were worked on, by side and error code ('ok' for none).",
            ("side", "code"),
            registry=self.registry,
        )
        object.__setattr__(self, "batch_items", batch_items)
        object.__setattr__(self, "requests", requests)
        object.__setattr__(self, "handshakes_refused", handshakes_refused)
        object.__setattr__(self, "seconds", seconds)


class Observation:
    """Counts and log lines of the requests of one listener, of whatever protocol."""

    def __init__(self, listener: str, metrics: RequestMetrics) -> None:
        self._listener = listener
        self._metrics = metrics
        # The labels are few: templates of routes, and codes of the one error table.
        self._counted: dict[tuple[str, str, str, str], tuple[Counter, Histogram]] = {}

    def note(
        self,
        route: str,
        method: str,
        status: int | str,
        code: str,
        request_id: RequestId,
        seconds: float,
    ) -> None:
        """``status`` is HTTP's number or gRPC's name."""
        requests, durations = self._counters(route, method, str(status), code)
        requests.inc()
        durations.observe(seconds)
        if logger.isEnabledFor(logging.INFO):
            # Made here: the logger would compare each of these names with those of a record, for each request.
            record = logging.LogRecord(__name__, logging.INFO, "", 0, "request", None, None)
            vars(record).update(
                listener=self._listener,
                route=route,
                method=method,
                status=status,
                code=code,
                milliseconds=round(seconds * 1000, 2),
                request_id=request_id,
            )
            logger.handle(record)

    def _counters(
        self, route: str, method: str, status: str, code: str
    ) -> tuple[Counter, Histogram]:
        name = (route, method, status, code)
        found = self._counted.get(name)
        if found is None:
            found = self._counted[name] = (
                self._metrics.requests.labels(self._listener, route, method, status, code),
                self._metrics.seconds.labels(self._listener, route, method),
            )
        return found


def note_error_code(scope: Scope, code: str) -> None:
    scope[_CODE] = code


class Observed:
    """ASGI middleware around an application."""

    def __init__(self, app: ASGIApp, listener: str, metrics: RequestMetrics) -> None:
        self._app = app
        self._observation = Observation(listener, metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(self, scope, send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.note()

    def note(self, scope: Scope, request_id: RequestId, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        code = scope.get(_CODE, "ok")
        self._observation.note(route, method, status, code, request_id, seconds)


class _Answer:
    """The answer on its way out. It is noted when its last byte has left: an application may go on for long after it."""

    __slots__ = ("_noted", "_observed", "_request_id", "_scope", "_send", "_started", "_status")

    def __init__(self, observed: Observed, scope: Scope, send: Send) -> None:
        self._observed = observed
        self._scope = scope
        self._send = send
        self._request_id = assign_request_id(scope)
        self._started = time.perf_counter()
        self._status = 0
        self._noted = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self._request_id.encode("ascii")),
            ]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.note()

    def note(self) -> None:
        if not self._noted:
            self._noted = True
            self._observed.note(
                self._scope, self._request_id, self._status, time.perf_counter() - self._started
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
