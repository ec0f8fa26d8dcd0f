"""Plain synchronous access to the database of this deployment, for tests and tools.

The service itself does not come through here: its requests use the pool of :mod:`pool`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session

from payment_token.infrastructure.database.location import deployment_url


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
