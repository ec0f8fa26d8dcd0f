"""A lock that is waited for has others waiting behind it: so never for long, and again after a pause."""

import asyncio
from collections.abc import Awaitable, Callable

from psycopg.errors import LockNotAvailable, ObjectNotInPrerequisiteState, QueryCanceled

from payment_token.domain.maintain import BusyError

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.5


async def patiently(step: Callable[[], Awaitable[bool]]) -> None:
    """Until a step says that it was the last. Raises BusyError when a lock is not to be had."""
    failures = 0
    while failures < _ATTEMPTS:
        try:
            if await step():
                return
        except (LockNotAvailable, QueryCanceled, ObjectNotInPrerequisiteState):
            failures += 1
            await asyncio.sleep(_PAUSE_SECONDS)
    raise BusyError
