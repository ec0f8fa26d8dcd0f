"""What every process that serves does, alone or with others: it starts, says where it listens, waits for its end."""

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager

from payment_token.bootstrap.database_login import check_login
from payment_token.bootstrap.listeners import (
    Listeners,
    Role,
    background_listeners,
    build_listeners,
)
from payment_token.bootstrap.sealer import Sealer, signing_keys
from payment_token.bootstrap.service import Service
from payment_token.bootstrap.upkeep import Upkeep
from payment_token.cli.deployment import load_settings
from payment_token.infrastructure.database.audit_months import NEEDED_AHEAD
from payment_token.infrastructure.database.embedded import EmbeddedServerError
from payment_token.infrastructure.database.location import embedded_server
from payment_token.infrastructure.logging import configure_logging
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.safety import check_safe_to_start
from payment_token.settings import ConfigurationError, Settings

logger = logging.getLogger(__name__)

_MAINTENANCE_SECONDS = 30.0

_GARBAGE_THRESHOLDS = (20_000, 20, 20)


def settings_to_serve_with(serving_process: int | None = None) -> Settings:
    """Also prepares this process, the one of this number if there are several. Raises ConfigurationError."""
    settings = load_settings()
    configure_logging(debug=settings.debug, serving_process=serving_process)
    forbid_core_dumps()
    check_safe_to_start(settings)
    return settings


@asynccontextmanager
async def started(
    settings: Settings, url: str, roles: Collection[Role]
) -> AsyncIterator[Listeners]:
    """What the roles need, at work while the block runs.

    A process that only maintains opens no key, and one that only seals none but those that sign.
    """
    await check_login(settings, url)
    async with AsyncExitStack() as stack:
        upkeep = Upkeep(settings, url) if Role.MAINTAIN in roles else None
        if upkeep is not None:
            await stack.enter_async_context(upkeep.kept_up())
        if not any(role.answers for role in roles):
            sealer = None
            if Role.SEALER in roles:
                keys = await stack.enter_async_context(signing_keys(settings, url))
                sealer = await _at_work(stack, Sealer(settings, url, keys))
            yield background_listeners(settings, upkeep, sealer)
            return
        service = await stack.enter_async_context(Service.started(settings, url))
        await _check_audit_months(service, upkeep)
        sealer = None
        if Role.SEALER in roles:
            sealer = await _at_work(stack, Sealer(settings, url, service.signing_keys))
        # Before the sealer's last round, which then seals this process's last record as well.
        stack.push_async_callback(service.audit_log.end)
        listeners = build_listeners(service, roles, sealer, upkeep)
        _look_for_garbage_less_often()
        yield listeners


async def _check_audit_months(service: Service, upkeep: Upkeep | None) -> None:
    """Raises ConfigurationError. ``upkeep`` is there where this process maintains the database as well."""
    ahead = await service.audit_months.ahead()
    deadline = time.monotonic() + _MAINTENANCE_SECONDS
    while ahead < NEEDED_AHEAD and upkeep is not None and time.monotonic() < deadline:
        # This process or another one may be at it.
        if await upkeep.run() is None:
            await asyncio.sleep(0.2)
        ahead = await service.audit_months.ahead()
    if ahead < NEEDED_AHEAD:
        raise ConfigurationError(
            f"The audit log has partitions for {max(ahead, 0)} months after this one, and {NEEDED_AHEAD} are needed before"
            " anything is released: payment-token maintain makes them, and should run every hour."
        )


async def _at_work(stack: AsyncExitStack, sealer: Sealer) -> Sealer:
    await stack.enter_async_context(sealer.at_work())
    return sealer


def _look_for_garbage_less_often() -> None:
    """What was made until now stays for good, and is not looked at again.

    Requests make no cycles to speak of: looking for some after every few hundred objects cost a tenth of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def end_signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    ended = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    return ended


def reload_on_hangup(listeners: Listeners) -> None:
    """SIGHUP reads the worker policy again; a process without the internal listener has none, and ignores it."""
    loop = asyncio.get_running_loop()
    at_work: set[asyncio.Task[None]] = set()

    def reload() -> None:
        if listeners.policy is not None:
            # The loop itself keeps no task alive.
            task = loop.create_task(listeners.policy.reload())
            at_work.add(task)
            task.add_done_callback(at_work.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)


def log_listening(urls: dict[str, str]) -> None:
    """One line for each listener, by name."""
    for name, url in urls.items():
        logger.info("listening", extra={"listener": name, "url": url})


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
