"""What is known of every request afterwards: its id, one log line, its counts. And the last line of defence.

Routes are named by their template, so that neither a log line nor a metric carries what a caller put into a path.
"""

import logging
import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from payment_token.api.rest.request_context import assign_request_id

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

    def __post_init__(self) -> None:
        requests = Counter(
            "payment_token_requests_total",
            "Requests by listener, route, method, status and error code ('ok' for none).",
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
        object.__setattr__(self, "requests", requests)
        object.__setattr__(self, "seconds", seconds)


def note_error_code(scope: Scope, code: str) -> None:
    scope[_CODE] = code


class Observed:
    """ASGI middleware around an application."""

    def __init__(self, app: ASGIApp, listener: str, metrics: RequestMetrics) -> None:
        self._app = app
        self._listener = listener
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = assign_request_id(scope)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode("ascii")),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        code = scope.get(_CODE, "ok")
        self._metrics.requests.labels(self._listener, route, method, str(status), code).inc()
        self._metrics.seconds.labels(self._listener, route, method).observe(seconds)
        logger.info(
            "request",
            extra={
                "listener": self._listener,
                "route": route,
                "method": method,
                "status": status,
                "code": code,
                "milliseconds": round(seconds * 1000, 2),
                "request_id": scope["payment_token.request_id"],
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
