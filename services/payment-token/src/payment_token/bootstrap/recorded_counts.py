"""What is counted, because each by itself would be too much for the audit log, goes there once a minute."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from payment_token.bootstrap.background import repeated
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.limit_refusals import COUNTED_SECONDS

logger = logging.getLogger(__name__)


class Counts(Protocol):
    async def record_counts(self) -> None:
        """Raises AuditUnavailableError; then the counts go on."""
        ...


@asynccontextmanager
async def recorded_counts(all_counts: Sequence[Counts]) -> AsyncIterator[None]:
    """While the block runs, and when it ends."""
    async with AsyncExitStack() as stack:
        for counts in all_counts:
            stack.push_async_callback(_record_last, counts)
            await stack.enter_async_context(repeated(counts.record_counts, COUNTED_SECONDS))
        yield


async def _record_last(counts: Counts) -> None:
    try:
        await counts.record_counts()
    except PaymentTokenError as error:
        logger.error("counts of what was refused are lost", extra={"code": error.code})
