"""PostgreSQL: where tokens, claims, wrapped keys and audit records are kept."""

from payment_token.infrastructure.database.reset import reset_db
from payment_token.infrastructure.database.session import get_db_session

__all__ = ["get_db_session", "reset_db"]
