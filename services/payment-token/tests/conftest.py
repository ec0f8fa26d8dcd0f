"""A real PostgreSQL for every test that asks for one: the embedded server, or the one of TEST_DATABASE_URL."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.settings import Settings
from tests.support.aws import CREDENTIALS, KMS, serving_kms
from tests.support.databases import database_named, keep_near_partitions, own_database
from tests.support.payment_cryptography_double import (
    PaymentCryptography,
    serving_payment_cryptography,
)
from tests.support.softhsm import Token, new_token

# Machines are shared: a slow example says nothing about the code.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")

# The machine's own configuration must not reach the tests, its AWS account least of all.
for name in list(os.environ):
    if name.startswith("AWS_") or name.lower() in Settings.model_fields:
        del os.environ[name]
os.environ.update(CREDENTIALS)


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
def whole_template(server_url: str) -> Iterator[str]:
    """The name of a database at the newest schema, to copy."""
    name = f"pt_whole_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        migration.upgrade(database_named(server_url, name))
        yield name
        connection.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def template(server_url: str, whole_template: str) -> Iterator[str]:
    """The same with few partitions, which is copied sooner."""
    name = f"pt_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {whole_template}")
        keep_near_partitions(database_named(server_url, name))
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


@pytest.fixture(scope="session")
def kms() -> Iterator[KMS]:
    """AWS KMS, by moto's server."""
    with serving_kms() as served:
        yield served


@pytest.fixture(scope="session")
def payment_cryptography() -> Iterator[PaymentCryptography]:
    with serving_payment_cryptography() as served:
        yield served


@pytest.fixture
def token(tmp_path: Path) -> Iterator[Token]:
    """A PKCS#11 token of this test's own."""
    with new_token(tmp_path, "pt-test") as (made,):
        yield made
