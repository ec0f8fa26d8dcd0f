"""Turns the driver's errors into ours, and leaves the driver's text behind.

PostgreSQL puts values into its messages ("Key (x)=(…) already exists", "Failing row contains (…)"). Of an error we
keep the SQLSTATE and nothing else, and raise ours outside the ``except`` block, so that the original does not ride
along as its context into a log.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.errors import PoolClosed, TooManyRequests

from payment_token.domain.errors import (
    DatabaseUnavailableError,
    IdempotencyInProgressError,
    OverloadedError,
    PaymentTokenError,
)

logger = logging.getLogger(__name__)

_LOCK_NOT_AVAILABLE = "55P03"


@asynccontextmanager
async def connection_of(
    pool: AsyncConnectionPool[AsyncConnection],
) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that commits at the end of the block.

    Raises DatabaseUnavailableError for whatever the database or the way to it does wrong, OverloadedError when too
    many wait for a connection, IdempotencyInProgressError when a row stays locked past the bound.
    """
    fault: PaymentTokenError | None = None
    try:
        async with pool.connection() as connection:
            yield connection
    except TooManyRequests:
        fault = OverloadedError()
    except (PoolTimeout, PoolClosed):
        fault = DatabaseUnavailableError()
    except psycopg.Error as error:
        logger.warning("database error", extra={"sqlstate": error.sqlstate or "connection"})
        fault = (
            IdempotencyInProgressError()
            if error.sqlstate == _LOCK_NOT_AVAILABLE
            else DatabaseUnavailableError()
        )
    if fault is not None:
        raise fault
