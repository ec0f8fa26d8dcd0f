"""``payment-token serve``: the listeners of one process."""

import asyncio
import contextlib
import logging
import signal

import typer
import uvloop

from payment_token.bootstrap import (
    Listeners,
    Role,
    Service,
    Upkeep,
    build_listeners,
    maintenance_listeners,
    serving,
)
from payment_token.cli.deployment import database_url, load_settings
from payment_token.infrastructure.database.embedded import EmbeddedServerError
from payment_token.infrastructure.database.session import embedded_server
from payment_token.infrastructure.logging import configure_logging
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.safety import check_safe_to_start
from payment_token.settings import Settings

logger = logging.getLogger(__name__)


def serve(
    only: list[Role] = typer.Option(
        [],
        "--only",
        help="Run only this part; repeatable. Default: everything; outside development all but maintain.",
    ),
) -> None:
    """Run the service until SIGTERM or Ctrl-C. SIGHUP reads the worker policy again."""
    settings = load_settings()
    configure_logging(debug=settings.debug)
    forbid_core_dumps()
    check_safe_to_start(settings)
    roles = set(only or default_roles(settings))
    serve_roles = _maintain if roles == {Role.MAINTAIN} else _serve
    uvloop.run(serve_roles(settings, database_url(settings), roles))


def default_roles(settings: Settings) -> list[Role]:
    """Outside development a process that answers requests does not get the login that maintenance needs."""
    return [role for role in Role if settings.in_development or role is not Role.MAINTAIN]


async def _serve(settings: Settings, url: str, roles: set[Role]) -> None:
    ended = end_signalled()
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(Service.started(settings, url))
        if Role.MAINTAIN in roles:
            await stack.enter_async_context(Upkeep(settings, url).kept_up())
        listeners = build_listeners(service, roles)
        await _listen(listeners, ended, settings)


async def _maintain(settings: Settings, url: str, _: set[Role]) -> None:
    """Without any key: what expires is dropped unseen."""
    ended = end_signalled()
    upkeep = Upkeep(settings, url)
    async with upkeep.kept_up():
        await _listen(maintenance_listeners(settings, upkeep), ended, settings)


async def _listen(listeners: Listeners, ended: asyncio.Event, settings: Settings) -> None:
    reload_on_hangup(listeners)
    async with serving(listeners):
        for listener in listeners.all:
            logger.info("listening", extra={"listener": listener.name, "url": listener.url})
        await wait_for(ended, settings)
        logger.info("draining")


def end_signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    ended = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    return ended


def reload_on_hangup(listeners: Listeners) -> None:
    """SIGHUP reads the worker policy again; a process without the internal listener has none, and ignores it."""
    action = listeners.policies.reload if listeners.policies is not None else lambda: None
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, action)


async def wait_for(ended: asyncio.Event, settings: Settings) -> None:
    """Waits for the end; meanwhile starts the embedded database again if it died."""
    while not ended.is_set():
        if settings.uses_embedded_database:
            await _revive_embedded_server(settings)
        try:
            await asyncio.wait_for(ended.wait(), timeout=1)
        except TimeoutError:
            continue


async def _revive_embedded_server(settings: Settings) -> None:
    try:
        await asyncio.to_thread(embedded_server(settings.folder).ensure_running)
    except EmbeddedServerError as error:
        logger.error("the embedded database does not come back", extra={"reason": str(error)})
