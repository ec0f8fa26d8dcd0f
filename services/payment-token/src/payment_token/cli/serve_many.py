"""``payment-token serve --workers N``: a process that serves nothing itself and looks after N that do."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from payment_token.api.listening_socket import reserved_address
from payment_token.api.rest.shared_counts import FOLDER, forget_gauges
from payment_token.bootstrap.listeners import Role, addresses
from payment_token.cli.env_file import chosen_env_file
from payment_token.cli.serving import end_signalled, log_listening, wait_for
from payment_token.infrastructure.child_processes import ChildProcesses, FirstChildFailedError
from payment_token.settings import Settings

logger = logging.getLogger(__name__)

COMMAND = "serve-one-of-many"
MODULE = "payment_token"
"""What Python runs for each of them."""


def serve_many(settings: Settings, roles: Collection[Role], count: int) -> None:
    """Until SIGTERM or SIGINT. Raises ListenError, ChildrenFailedError; SystemExit where a process has said why."""
    with ExitStack() as stack:
        reserved = stack.enter_context(_reserved(addresses(settings, roles)))
        counts = stack.enter_context(_private_folder())
        failed = asyncio.run(_look_after(settings, roles, count, reserved, counts))
    if failed:
        raise SystemExit(failed)


@contextmanager
def _reserved(listeners: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment that names the addresses, with the ports that the system chose."""
    with ExitStack() as stack:
        environment = {}
        for name, address in listeners.items():
            taken, reservation = reserved_address(name, address)
            stack.enter_context(reservation)
            environment[f"{name.upper()}_ADDRESS"] = taken
        yield environment


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pt-counts-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _look_after(
    settings: Settings, roles: Collection[Role], count: int, reserved: dict[str, str], counts: Path
) -> int:
    ended = end_signalled()
    children = ChildProcesses(
        lambda number, link: _command(number, link, roles),
        count,
        environment={**os.environ, **reserved, FOLDER: str(counts)},
        buried=lambda number: forget_gauges(counts, number),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, children.reload)
    database = asyncio.create_task(wait_for(ended, settings))
    try:
        await children.run(ended, lambda urls: log_listening(json.loads(urls)))
    except FirstChildFailedError as error:
        if error.code > 0:
            return error.code
        raise
    finally:
        ended.set()
        await database
    return 0


def _command(number: int, link: int, roles: Collection[Role]) -> list[str]:
    words = [sys.executable, "-m", MODULE, COMMAND]
    words += ["--number", str(number), "--link", str(link)]
    # The first of them seals for all.
    played = [role for role in roles if number == 1 or role is not Role.SEALER]
    words += [word for role in played for word in ("--only", role.value)]
    env_file = chosen_env_file()
    return words if env_file is None else [*words, "--env-file", str(env_file)]
