"""Brings a database to the newest schema, with Alembic."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import DBAPIError

from alembic import command
from payment_token.infrastructure.database.session import sqlalchemy_url
from payment_token.settings import SERVICE_FOLDER, ConfigurationError

MIGRATION_LOCK = 7_281_990_310_571
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "15min"


def upgrade(url: str, revision: str = "head") -> None:
    """Raises ConfigurationError when the database does not answer, or does not let this login do that."""
    with _database_errors_named():
        command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str = "base", *, empty_audit_log: bool = False) -> None:
    """Raises ConfigurationError, as :func:`upgrade` does, and where records of the audit log would go.

    ``empty_audit_log`` lets them go: for a database that is to be empty.
    """
    config = _config(url)
    config.attributes["empty_audit_log"] = empty_audit_log
    with _database_errors_named():
        command.downgrade(config, revision)


def head_revision() -> str:
    """The revision that this code was written for."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    if head is None:
        raise ConfigurationError("There are no migrations beside this installation.")
    return head


def current_revision(url: str) -> str | None:
    """The revision that the database is at; ``None`` for an empty one."""
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with _database_errors_named(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _database_errors_named() -> Iterator[None]:
    reason = None
    try:
        yield
    except CommandError as error:
        reason = str(error)
    except DBAPIError as error:
        # No migration carries data, so the first line of what PostgreSQL says is safe to show.
        reason = str(error.orig).strip().partition("\n")[0]
    if reason is not None:
        raise ConfigurationError(f"The database could not be used: {reason}")


def _config(url: str | None) -> Config:
    ini = SERVICE_FOLDER / "alembic.ini"
    if not ini.is_file():
        raise ConfigurationError(
            "Migrations run from a checkout of the service: alembic.ini is not where it should be."
        )
    config = Config(ini)
    config.attributes["database_url"] = url
    return config
