"""Logins of a test's own, as an operator makes them for the processes of the service."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def login_of(url: str, *roles: str) -> Iterator[str]:
    """The URL of the same database for a new login, which is a member of the roles. ``url`` is a superuser's."""
    name = f"login_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
        try:
            for role in roles:
                admin.execute(f"GRANT {role} TO {name}")
            yield url.replace("postgres@", f"{name}@")
        finally:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")
