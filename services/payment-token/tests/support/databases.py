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
