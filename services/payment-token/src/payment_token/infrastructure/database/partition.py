"""Statements on the tokens of one purge day, which lie in one partition."""

from datetime import date
from functools import lru_cache
from typing import LiteralString

from psycopg.sql import SQL, Literal

# Most tokens live for a day or two; those of other days are planned anew now and then.
_DAYS = 64


@lru_cache(maxsize=_DAYS)
def on_day(statement: LiteralString, day: date) -> bytes:
    """The statement with its ``{day}``. A plan that is made for every day would lock each partition that there is."""
    return SQL(statement).format(day=Literal(day)).as_bytes()
