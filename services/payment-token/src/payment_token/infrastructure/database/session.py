"""Which database this deployment uses, and plain synchronous access to it for tests and tools.

The service itself does not come through here: its requests use the pool of :mod:`pool`.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session

from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.settings import ConfigurationError, Settings


def deployment_url(settings: Settings | None = None, *, for_migration: bool = False) -> str:
    """The URL of this deployment's database. Starts or attaches to the embedded one where none is configured.

    Raises ConfigurationError when none is configured outside development.
    """
    settings = settings or Settings.load()
    configured = (
        settings.migration_database_url if for_migration else None
    ) or settings.database_url
    if configured:
        return configured
    if not settings.in_development:
        raise ConfigurationError("DATABASE_URL is required outside development.")
    return embedded_server(settings.folder).url


@cache
def embedded_server(folder: Path) -> EmbeddedServer:
    """The embedded server of a deployment, held until this process ends."""
    server = EmbeddedServer(folder)
    server.start_or_attach()
    atexit.register(server.release)
    return server


def sqlalchemy_url(url: str) -> str:
    """The same database for SQLAlchemy, whatever scheme of PostgreSQL the URL came with."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@contextmanager
def get_db_session() -> Iterator[Session]:
    """A synchronous SQLAlchemy session; commits at the end of the block, rolls back on an error."""
    with Session(_engine(deployment_url())) as session, session.begin():
        yield session


@cache
def _engine(url: str) -> Engine:
    # SQLAlchemy shows parameters in its errors unless told not to; they may hold what must not be shown.
    return create_engine(sqlalchemy_url(url), hide_parameters=True)
