"""PostgreSQL: where tokens, claims, wrapped keys and audit records are kept.

``get_db_session`` and ``reset_db`` rest on SQLAlchemy and Alembic. What serves needs neither, so they are loaded when
they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from payment_token.infrastructure.database.reset import reset_db
    from payment_token.infrastructure.database.session import get_db_session

__all__ = ["get_db_session", "reset_db"]

_PLACES = {"get_db_session": "session", "reset_db": "reset"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
