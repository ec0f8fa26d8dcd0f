"""The audit log as a process or a command writes to it."""

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from payment_token.domain.audit import Actor
from payment_token.domain.ports import Clock
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import Pool, new_audit_pool


def this_process() -> Actor:
    return Actor(f"service:payment-token/{version('payment-token')}", _here())


def this_operator() -> Actor:
    """Whoever runs a command, as the operating system has the name."""
    return Actor(f"operator:{getpass.getuser()}", _here())


@asynccontextmanager
async def opened_audit_log(
    url: str, pool: Pool, clock: Clock, recorder: Actor
) -> AsyncIterator[PostgresAuditLog]:
    """``recorder`` opens and closes the log: a process of the service, or an operator."""
    async with (
        new_audit_pool(url) as writing,
        PostgresAuditLog.opened(pool, writing, clock, recorder) as log,
    ):
        yield log


def _here() -> str:
    return f"{socket.gethostname()} pid {os.getpid()}"
