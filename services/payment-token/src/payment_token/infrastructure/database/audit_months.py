"""The partitions of ``decrypt_audit_log``: one for each month, made by make_audit_partition() of the schema."""

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

NEEDED_AHEAD = 2
"""Whole months after this one that a process must find when it starts: maintenance makes many more."""

# Nothing of the log itself is read or locked. Months without a gap count: a record goes into one of them.
_AHEAD = """
SELECT count(*) - 1
  FROM (SELECT bool_and(attached) OVER (ORDER BY number) AS without_gap
          FROM (SELECT number, EXISTS (
                       SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                        WHERE inhparent = to_regclass('decrypt_audit_log') AND NOT inhdetachpending
                          AND relname = 'decrypt_audit_log_' || to_char(
                              date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')
                              + make_interval(months => number), 'YYYY_MM')) AS attached
                  FROM generate_series(0, 24) AS number) AS months) AS in_order
 WHERE without_gap
"""


class PostgresAuditMonths:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ahead(self) -> int:
        """How many months after this one have a place for their records; -1 when this one has none."""
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(_AHEAD)).fetchone()
        return int(row[0]) if row else -1
