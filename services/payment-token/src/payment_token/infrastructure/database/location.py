"""Which database this deployment uses."""

import atexit
from functools import cache
from pathlib import Path

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
