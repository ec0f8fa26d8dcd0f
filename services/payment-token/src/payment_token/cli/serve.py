"""``payment-token serve``: the listeners, in this process or in several that it looks after."""

import logging

import typer
import uvloop

from payment_token.bootstrap.listeners import Role, serving
from payment_token.cli.deployment import database_url
from payment_token.cli.serve_many import serve_many
from payment_token.cli.serving import (
    end_signalled,
    log_listening,
    reload_on_hangup,
    settings_to_serve_with,
    started,
    wait_for,
)
from payment_token.settings import Settings

logger = logging.getLogger(__name__)

_MOST_WORKERS = 64


def serve(
    only: list[Role] = typer.Option(
        [],
        "--only",
        help="Run only this part; repeatable. Default: everything; outside development public and internal.",
    ),
    workers: int = typer.Option(
        1,
        "--workers",
        min=1,
        max=_MOST_WORKERS,
        help="How many processes serve, one for each core. Each has up to 18 connections to the database.",
    ),
) -> None:
    """Run the service until SIGTERM or Ctrl-C. SIGHUP reads the worker policy again."""
    settings = settings_to_serve_with()
    roles = only or default_roles(settings)
    url = database_url(settings)
    # One process maintains or seals at a time, so a second one that did nothing else would only stand by.
    if workers > 1 and any(role.answers for role in roles):
        serve_many(settings, roles, workers)
    else:
        uvloop.run(_serve(settings, url, roles))


def default_roles(settings: Settings) -> list[Role]:
    """Outside development a process that answers requests does not get the logins that maintenance and sealing need."""
    return [role for role in Role if settings.in_development or role.answers]


async def _serve(settings: Settings, url: str, roles: list[Role]) -> None:
    ended = end_signalled()
    async with started(settings, url, roles) as listeners:
        reload_on_hangup(listeners)
        async with serving(listeners):
            log_listening(listeners.urls)
            await wait_for(ended, settings)
            logger.info("draining")
