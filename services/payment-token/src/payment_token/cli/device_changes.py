"""What the commands for terminals share: their arguments, and the registry with its audit log."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.deployment import load_settings, with_audit_log
from payment_token.domain.change_devices import ChangeDevices
from payment_token.domain.device_registry import checked_merchant
from payment_token.domain.errors import DeviceNotFoundError
from payment_token.domain.identifiers import DEVICE_ID, DeviceId, MerchantId
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.device_events import (
    PostgresDeviceEvents,
    WrittenDeviceEvents,
)
from payment_token.infrastructure.database.device_registry import PostgresDeviceRegistry
from payment_token.infrastructure.database.pool import Pool

DeviceArgument = typer.Argument(..., metavar="DEVICE_ID", help="As it was registered.")
MerchantOption = typer.Option(..., "--merchant", metavar="ID", help="Whose it is.")

Result = TypeVar("Result")


def with_changes(work: Callable[[ChangeDevices, Pool], Awaitable[Result]]) -> Result:
    async def run(pool: Pool, log: PostgresAuditLog) -> Result:
        return await work(changes_of(pool, log), pool)

    return with_audit_log(load_settings(), run)


def changes_of(pool: Pool, log: PostgresAuditLog) -> ChangeDevices:
    return ChangeDevices(
        registry=PostgresDeviceRegistry(pool),
        audit_log=log,
        device_events=WrittenDeviceEvents(PostgresDeviceEvents(pool)),
        operator=this_operator(),
    )


def names_of(device_id: str, merchant: str) -> tuple[MerchantId, DeviceId]:
    """Of a terminal that should be there. Raises DeviceNotFoundError, InvalidFieldError."""
    owner = checked_merchant(merchant)
    if not DEVICE_ID.fullmatch(device_id):
        raise DeviceNotFoundError
    return owner, DeviceId(device_id)
