"""``payment-token serve``: the listeners, in this process or in several that it looks after."""

import logging

import typer
import uvloop

from payment_token.bootstrap import Role, Service, build_listeners, serving
from payment_token.cli.deployment import database_url
from payment_token.cli.serve_many import serve_many
from payment_token.cli.serving import (
    end_signalled,
    log_listening,
    look_for_garbage_less_often,
    reload_on_hangup,
    settings_to_serve_with,
    wait_for,
)
from payment_token.settings import Settings

logger = logging.getLogger(__name__)

_MOST_WORKERS = 64


def serve(
    only: list[Role] = typer.Option(
        [], "--only", help="Run only this part; repeatable. Default: everything."
    ),
    workers: int = typer.Option(
        1,
        "--workers",
        min=1,
        max=_MOST_WORKERS,
        help="How many processes serve, one for each core. Each has up to 10 connections to the database.",
    ),
) -> None:
    """Run the service until SIGTERM or Ctrl-C. SIGHUP reads the worker policy again."""
    settings = settings_to_serve_with()
    roles = only or list(Role)
    url = database_url(settings)
    if workers > 1:
        serve_many(settings, roles, workers)
    else:
        uvloop.run(_serve(settings, url, roles))


async def _serve(settings: Settings, url: str, roles: list[Role]) -> None:
    ended = end_signalled()
    async with Service.started(settings, url) as service:
        listeners = build_listeners(service, roles)
        reload_on_hangup(listeners)
        look_for_garbage_less_often()
        async with serving(listeners):
            log_listening(listeners.urls)
            await wait_for(ended, settings)
            logger.info("draining")
