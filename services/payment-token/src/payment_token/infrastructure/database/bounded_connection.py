"""A connection that is cut when its time is up, whatever the server does.

The server ends its own statements, but not one that it never got, nor while it stands still. To cancel a task does not
help: the driver then asks the server to cancel the statement, and waits for that, up to ten seconds.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection

from payment_token.infrastructure.database.pool import Pool


@asynccontextmanager
async def bounded_connection_of(pool: Pool, seconds: float) -> AsyncIterator[AsyncConnection]:
    """Raises psycopg.OperationalError where a statement is on its way once ``seconds`` have passed."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    async with pool.connection(timeout=min(seconds, pool.timeout)) as connection:
        timer = loop.call_at(ends_at, _cut, connection)
        try:
            yield connection
        finally:
            timer.cancel()


def _cut(connection: AsyncConnection) -> None:
    if not connection.closed:
        # The driver's own socket stays the driver's: it reads the end of the stream, and finds the connection broken.
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
            wire.shutdown(socket.SHUT_RDWR)
