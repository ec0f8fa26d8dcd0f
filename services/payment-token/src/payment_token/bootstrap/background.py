"""Work that a process does again and again beside its requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from payment_token.domain.errors import PaymentTokenError

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.5


@asynccontextmanager
async def repeated(
    work: Callable[[], Awaitable[None]], seconds: float, *, at_once: bool = False
) -> AsyncIterator[None]:
    """Does ``work`` every so many seconds while the block runs. A failure is logged, and tried again in time."""

    async def forever() -> None:
        pause = 0.0 if at_once else seconds
        while True:
            await asyncio.sleep(pause)
            pause = seconds
            try:
                await work()
            except PaymentTokenError as error:
                logger.warning(
                    "background work failed", extra={"work": work.__qualname__, "code": error.code}
                )
            # A defect of ours must not end the work for good: keys would not be buried, a lease would lapse.
            except Exception as error:  # noqa: BLE001
                logger.error(
                    "background work is defective",
                    extra={"work": work.__qualname__, "fault": type(error).__name__},
                )

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        await ended(task)


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancels them until they are done.

    Once is not enough: what waits with a timeout may take it for the end of its wait and go on, for good, and with it the
    process that was asked to end.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                logger.error(
                    "background work ended badly",
                    extra={"fault": type(task.exception()).__name__},
                )
