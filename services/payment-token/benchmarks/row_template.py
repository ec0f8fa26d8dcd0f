"""A row as the service wrote it, to be written again by SQL alone.

So the baselines and the filled tables have rows of the very size that the service writes, whatever columns a table has.
"""

from dataclasses import dataclass
from typing import Self

import psycopg

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod)
  FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''
 ORDER BY attnum
"""


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """``values`` are SQL expressions by column."""

    table: str
    values: dict[str, str]

    @classmethod
    def of(cls, link: psycopg.Connection, table: str) -> Self:
        """Any row of the table that is there."""
        columns = link.execute(_COLUMNS, (table,)).fetchall()
        texts = ", ".join(f'"{name}"::text' for name, _ in columns)
        row = link.execute(f"SELECT {texts} FROM {table} LIMIT 1").fetchone()
        if row is None:
            raise SystemExit(f"the service has written no row into {table}")
        return cls(
            table,
            {
                name: "NULL" if text is None else f"{_literal(text)}::{kind}"
                for (name, kind), text in zip(columns, row, strict=True)
            },
        )

    def insert(self, changed: dict[str, str], source: str = "", end: str = "") -> str:
        """The statement, with other expressions for some columns. ``source`` is the FROM of an INSERT … SELECT."""
        values = self.values | changed
        names = ", ".join(values)
        expressions = ", ".join(values.values())
        rows = f"SELECT {expressions} FROM {source}" if source else f"VALUES ({expressions})"
        return f"INSERT INTO {self.table} ({names}) {rows}{end}"


def _literal(text: str) -> str:
    """As a Unicode literal, in which no colon is left: pgbench would take what follows one for a variable."""
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\003A")
    return f"U&'{escaped}'"
