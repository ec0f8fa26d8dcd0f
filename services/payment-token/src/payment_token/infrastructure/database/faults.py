"""Turns the driver's errors into ours, and leaves the driver's text behind.

PostgreSQL puts values into its messages ("Key (x)=(…) already exists", "Failing row contains (…)"). Of an error we
keep the SQLSTATE and nothing else, and raise ours outside the ``except`` block, so that the original does not ride
along as its context into a log.
"""

import asyncio
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

# Data, constraints, a transaction that must be tried again, statements, locks: what one item of a batch can bring on
# its neighbours. The other classes (connection, resources, operator, system) say that nobody is served just now.
_BY_ITS_ITEMS = ("21", "22", "23", "40", "42", "55")


# The event loop itself keeps no task alive.
_looking: set[asyncio.Task[None]] = set()


class BatchRefusedError(Exception):
    """The database took a batch back, all of it; its items by themselves may fare better."""


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
        async with pool.connection() as connection, connection.transaction():
            yield connection
    except psycopg.Error as error:
        fault = _ours(error)
    if fault is not None:
        raise fault


@asynccontextmanager
async def batch_connection_of(
    pool: AsyncConnectionPool[AsyncConnection],
) -> AsyncIterator[AsyncConnection]:
    """A connection for a batch, each of whose statements is a transaction of its own.

    Raises BatchRefusedError for what one item can bring on its neighbours, and else what :func:`connection_of` does.
    """
    fault: Exception | None = None
    connection = None
    try:
        async with pool.connection() as connection:
            yield connection
    except psycopg.Error as error:
        if (error.sqlstate or "")[:2] in _BY_ITS_ITEMS:
            logger.info("a batch is done one by one", extra={"sqlstate": error.sqlstate})
            fault = BatchRefusedError()
        else:
            fault = _ours(error)
            if connection is not None and connection.broken:
                _look_through(pool)
    if fault is not None:
        raise fault


def _look_through(pool: AsyncConnectionPool[AsyncConnection]) -> None:
    # After a crash or a failover the other connections are as dead as this one: each would cost another batch.
    look = asyncio.get_running_loop().create_task(pool.check())
    _looking.add(look)
    look.add_done_callback(_looking.discard)


def _ours(error: psycopg.Error) -> PaymentTokenError:
    if isinstance(error, TooManyRequests):
        return OverloadedError()
    if isinstance(error, PoolTimeout | PoolClosed):
        return DatabaseUnavailableError()
    logger.warning("database error", extra={"sqlstate": error.sqlstate or "connection"})
    if error.sqlstate == _LOCK_NOT_AVAILABLE:
        return IdempotencyInProgressError()
    return DatabaseUnavailableError()
