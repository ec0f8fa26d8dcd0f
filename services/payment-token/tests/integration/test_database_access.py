"""What integration tests of other teams use: ``reset_db`` and ``get_db_session``."""

from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError

from payment_token.infrastructure.database import get_db_session, migration, reset_db
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.tables import api_keys
from payment_token.settings import ConfigurationError, Settings


@pytest.fixture(autouse=True)
def own_database(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)


def add_key(key_id: str) -> None:
    with get_db_session() as session:
        session.execute(
            api_keys.insert().values(key_id=key_id, name="", merchants=["m_1"], secret_sha256=b"")
        )


def test_a_session_commits(database_url: str) -> None:
    add_key("k1")

    with get_db_session() as session:
        assert session.execute(select(api_keys.c.key_id)).scalars().all() == ["k1"]


def test_a_session_rolls_back_on_an_error() -> None:
    def fail_halfway() -> None:
        with get_db_session() as session:
            session.execute(text("INSERT INTO api_keys VALUES ('k1', '', '{}', '')"))
            session.execute(text("SELECT no_such_column"))

    with pytest.raises(ProgrammingError):
        fail_halfway()

    with get_db_session() as session:
        assert session.execute(select(api_keys.c.key_id)).all() == []


def test_reset_empties_and_recreates(database_url: str) -> None:
    add_key("k1")

    reset_db()

    with get_db_session() as session:
        assert session.execute(select(api_keys.c.key_id)).all() == []
    assert migration.current_revision(database_url) == migration.head_revision()


def test_reset_makes_the_schema_of_an_empty_database(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    reset_db()

    assert migration.current_revision(empty_database_url) == migration.head_revision()


def test_reset_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    add_key("k1")
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(ConfigurationError, match="never reset"):
        reset_db()

    with get_db_session() as session:
        assert session.execute(select(api_keys.c.key_id)).scalars().all() == ["k1"]


def test_migrations_use_their_own_login_where_there_is_one() -> None:
    settings = Settings(
        database_url="postgresql://app@h/d", migration_database_url="postgresql://owner@h/d"
    )

    assert deployment_url(settings) == "postgresql://app@h/d"
    assert deployment_url(settings, for_migration=True) == "postgresql://owner@h/d"


def test_a_database_is_required_outside_development() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        deployment_url(Settings(environment="test", database_url=None))  # type: ignore[arg-type]
