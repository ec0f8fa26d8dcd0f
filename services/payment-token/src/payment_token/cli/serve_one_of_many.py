"""One of the processes of ``payment-token serve --workers N``. Its parent starts it, and nobody else."""

import json
import logging
import os
import shutil

import typer
import uvloop

from payment_token.api.rest.shared_counts import FOLDER, count_as
from payment_token.bootstrap.listeners import Role, serving
from payment_token.cli.deployment import database_url
from payment_token.cli.serving import (
    end_signalled,
    reload_on_hangup,
    settings_to_serve_with,
    started,
)
from payment_token.infrastructure.parent_process import ParentProcess
from payment_token.settings import Settings

logger = logging.getLogger(__name__)


def serve_one_of_many(
    number: int = typer.Option(..., "--number"),
    link: int = typer.Option(..., "--link", help="The descriptor of the socket to the parent."),
    only: list[Role] = typer.Option(..., "--only"),
) -> None:
    """One of the processes of `serve --workers`, which starts it."""
    parent = ParentProcess(link)
    parent.wait_for_turn()
    parent.end_with_it()
    settings = settings_to_serve_with(number)
    count_as(number)
    try:
        url = database_url(settings, migrated=True)
        uvloop.run(_serve(settings, url, only, parent))
    finally:
        if parent.gone:
            # Its folder is what it would have cleared up itself.
            shutil.rmtree(os.environ[FOLDER], ignore_errors=True)


async def _serve(settings: Settings, url: str, roles: list[Role], parent: ParentProcess) -> None:
    ended = end_signalled()
    async with started(settings, url, roles) as listeners:
        reload_on_hangup(listeners)
        async with serving(listeners, shared=True):
            parent.tell(json.dumps(listeners.urls).encode())
            # The parent logs where they listen, and looks after the embedded database.
            await ended.wait()
            logger.info("draining")
