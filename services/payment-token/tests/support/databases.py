"""Databases on a test server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg


def database_named(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


@contextmanager
def own_database(server_url: str, template: str | None = None) -> Iterator[str]:
    """A new database, empty or a copy of the template, that is dropped at the end."""
    name = f"pt_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")
        yield database_named(server_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def keep_near_partitions(url: str) -> None:
    """Leaves the partitions of the next days, and of the longest life of a token.

    A copy of all 400 takes 0.1 to 0.3 seconds, of these 0.03, and nearly every test has a copy of its own.
    """
    with psycopg.connect(url, autocommit=True) as database:
        days = database.execute(_DAYS_BETWEEN).fetchall()
        for (partition,) in days:
            database.execute(f"DROP TABLE {partition}")


_DAYS_BETWEEN = """
SELECT inhrelid::regclass::text FROM pg_inherits
 WHERE inhparent = 'payment_tokens'::regclass
   AND to_date(right(inhrelid::regclass::text, 10), 'YYYY_MM_DD') - (now() AT TIME ZONE 'UTC')::date
       BETWEEN 7 AND 396
"""
