"""A real PostgreSQL for every test that asks for one: the embedded server, or the one of TEST_DATABASE_URL."""

import os
import uuid
from collections.abc import Iterator

import hypothesis
import psycopg
import pytest

from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.databases import database_named, own_database

# Machines are shared: a slow example says nothing about the code.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")

# The machine's own configuration must not reach the tests.
for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL", "ENVIRONMENT", "DEBUG"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A maintenance database of a server on which tests may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with EmbeddedServer(tmp_path_factory.mktemp("server")) as server:
        yield server.url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a database at the newest schema, to copy."""
    name = f"pt_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        migration.upgrade(database_named(server_url, name))
        yield name
        connection.execute(f"DROP DATABASE {name}")


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of this test's own, at the newest schema."""
    with own_database(server_url, template) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A database of this test's own, without any schema."""
    with own_database(server_url) as url:
        yield url
