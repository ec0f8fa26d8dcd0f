"""The months of the audit log that the database has, and how one leaves it. The contract is :class:`MonthPartitions`.

A month is detached concurrently (SHARE UPDATE EXCLUSIVE on the table): writers and readers of the other months go on. Only
the owner of the table can do that.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection, sql
from psycopg.errors import InsufficientPrivilege

from payment_token.domain.audit_archive.layout import ArchiveError
from payment_token.domain.audit_archive.month import Month
from payment_token.infrastructure.database.partition_removal import remove_partition

# A partition that was detached and not dropped is still the database's copy of its month.
_PRESENT = r"""
SELECT to_date(substring(relname FROM '^decrypt_audit_log_(\d{4}_\d\d)$'), 'YYYY_MM')
  FROM pg_class
 WHERE relkind = 'r' AND relname ~ '^decrypt_audit_log_\d{4}_\d\d$'
   AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('decrypt_audit_log'))
 ORDER BY 1
"""

_COUNT = sql.SQL("SELECT count(*) FROM {name}")


class PostgresMonthPartitions:
    def __init__(self, connection: AsyncConnection) -> None:
        """``connection`` is the owner's, in autocommit: DETACH … CONCURRENTLY is two transactions."""
        self._connection = connection

    async def present(self) -> Sequence[Month]:
        cursor = await self._connection.execute(_PRESENT)
        return [Month(first_day) for (first_day,) in await cursor.fetchall()]

    async def count(self, month: Month) -> int:
        statement = _COUNT.format(name=sql.Identifier(_name(month)))
        row = await (await self._connection.execute(statement)).fetchone()
        return int(row[0]) if row else 0

    async def drop(self, month: Month) -> None:
        refused = False
        await self._connection.execute("SET lock_timeout = '1s'")
        try:
            await remove_partition(self._connection, "decrypt_audit_log", _name(month))
        except InsufficientPrivilege:
            refused = True
        if refused:
            raise ArchiveError(
                "only the owner of the tables takes a month out of the database: MIGRATION_DATABASE_URL names that login"
            )


def _name(month: Month) -> str:
    return f"decrypt_audit_log_{month.first_day:%Y_%m}"
