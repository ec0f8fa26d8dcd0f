"""A connection for work of the maintainer, which one process at a time does."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import InsufficientPrivilege

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.maintain import MaintenanceError

logger = logging.getLogger(__name__)

# A lock that is waited for has others waiting behind it, so never for long; again after a pause.
_SESSION = "-c lock_timeout=1s -c statement_timeout=60s -c timezone=UTC"

# Of this session, so PostgreSQL lets it go when the process dies.
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"

_TABLE = """
SELECT relkind::text, pg_get_userbyid(relowner)::text FROM pg_class
 WHERE oid = to_regclass('payment_tokens')
"""


@asynccontextmanager
async def maintaining_connection(url: str, name: str) -> AsyncIterator[AsyncConnection | None]:
    """As the owner of the tables: only the owner may attach and drop partitions. ``None`` while another has this name.

    Each statement is a transaction: DETACH … CONCURRENTLY is two, and refuses to run within another. Raises
    MaintenanceError, DatabaseUnavailableError.
    """
    fault: Exception | None = None
    try:
        async with await AsyncConnection.connect(
            url, autocommit=True, options=_SESSION, connect_timeout=5, application_name=name
        ) as connection:
            await _become_owner(connection)
            alone = await (await connection.execute(_LOCK, (name,))).fetchone()
            yield connection if alone == (True,) else None
    except InsufficientPrivilege:
        fault = MaintenanceError(
            "This login may not maintain the tables: make it a member of the role that owns payment_tokens,"
            " and let that role create tables in its schema. The partitions must belong to that role, too."
        )
    except psycopg.Error as error:
        logger.warning(
            "database error in maintenance", extra={"sqlstate": error.sqlstate or "connection"}
        )
        fault = DatabaseUnavailableError()
    if fault is not None:
        raise fault


async def _become_owner(connection: AsyncConnection) -> None:
    row = await (await connection.execute(_TABLE)).fetchone()
    kind, owner = row or ("", "")
    if kind != "p":
        raise MaintenanceError("The schema is too old to be maintained: payment-token db upgrade")
    await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
