"""How a partition leaves its table and the database, while everybody else goes on.

Detaching concurrently takes SHARE UPDATE EXCLUSIVE on the table, and waits, without a lock that anybody else would wait
for, until all who use the table now have ended. May be interrupted at any point, and asked for again.
"""

from psycopg import AsyncConnection, sql

from payment_token.infrastructure.database.lock_patience import patiently

_DETACHING = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
_DETACH = sql.SQL("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY")
_FINISH_DETACHING = sql.SQL("ALTER TABLE {table} DETACH PARTITION {name} FINALIZE")
_DROP = sql.SQL("DROP TABLE IF EXISTS {name}")


async def remove_partition(connection: AsyncConnection, table: str, name: str) -> None:
    """``connection`` is the owner's, in autocommit: DETACH … CONCURRENTLY is two transactions. Raises BusyError."""
    names = {"table": sql.Identifier(table), "name": sql.Identifier(name)}

    async def step() -> bool:
        cursor = await connection.execute(_DETACHING, (name,))
        detaching = await cursor.fetchone()
        if detaching is None:
            await connection.execute(_DROP.format(**names))
            return True
        # An attempt that was interrupted or gave up has left it half detached.
        statement = _FINISH_DETACHING if detaching == (True,) else _DETACH
        await connection.execute(statement.format(**names))
        return False

    await patiently(step)
