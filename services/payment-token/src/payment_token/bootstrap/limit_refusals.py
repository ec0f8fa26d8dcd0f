"""Requests over workers' limits: counted for operators, and for the audit log."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter

from payment_token.bootstrap.background import repeated
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.limit_refusals import COUNTED_SECONDS, LimitRefusals

logger = logging.getLogger(__name__)


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


@asynccontextmanager
async def recorded_counts(refusals: LimitRefusals | None) -> AsyncIterator[None]:
    """Each minute, and when the block ends, what was counted goes into the audit log."""
    if refusals is None:
        yield
        return
    try:
        async with repeated(refusals.record_counts, COUNTED_SECONDS):
            yield
    finally:
        try:
            await refusals.record_counts()
        except PaymentTokenError as error:
            logger.error("counts of refused requests are lost", extra={"code": error.code})
