"""The suspension of terminals that keep failing, where DEVICE_SUSPEND_FAILURES asks for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from payment_token.bootstrap.audit import this_process
from payment_token.bootstrap.background import repeated
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.ports import AuditLog
from payment_token.domain.suspend_failing_devices import (
    LOOK_SECONDS,
    SuspendFailingDevices,
    SuspensionRule,
)
from payment_token.infrastructure.database.failing_devices import (
    PostgresDeviceFailures,
    PostgresSuspension,
)
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import Settings


def suspension_of(
    settings: Settings, pool: Pool, audit_log: AuditLog, events: DeviceEvents
) -> SuspendFailingDevices | None:
    """``None`` where no terminal is suspended by itself."""
    if not settings.device_suspend_failures:
        return None
    return SuspendFailingDevices(
        events,
        PostgresDeviceFailures(pool),
        PostgresSuspension(pool, audit_log, this_process()),
        SuspensionRule(settings.device_suspend_failures, settings.device_suspend_seconds),
    )


@asynccontextmanager
async def looked_after(suspension: SuspendFailingDevices | None) -> AsyncIterator[None]:
    """While the block runs."""
    if suspension is None:
        yield
        return
    async with repeated(suspension.look, LOOK_SECONDS):
        yield
