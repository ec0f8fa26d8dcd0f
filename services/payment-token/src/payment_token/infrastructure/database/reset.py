"""Empties a database and makes the schema anew: for development and tests."""

from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.location import deployment_url
from payment_token.settings import ConfigurationError, Settings


def reset_db(settings: Settings | None = None) -> None:
    """Deletes all data. Raises ConfigurationError when ENVIRONMENT=production."""
    settings = settings or Settings.load()
    if settings.in_production:
        raise ConfigurationError("A production database is never reset.")
    url = deployment_url(settings, for_migration=True)
    if migration.current_revision(url) is not None:
        migration.downgrade(url, empty_audit_log=True)
    migration.upgrade(url)
