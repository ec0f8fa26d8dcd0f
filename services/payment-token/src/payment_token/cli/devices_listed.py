"""``payment-token devices list`` and ``show``."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from payment_token.cli.deployment import load_settings, with_pool
from payment_token.cli.device_changes import DeviceArgument, MerchantOption, names_of
from payment_token.cli.profile_options import spoken
from payment_token.cli.terminal import console, listing
from payment_token.domain.device_registry import RegistryEntry, checked_merchant
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import DeviceNotFoundError
from payment_token.domain.registry_document import registry_document
from payment_token.infrastructure.database.device_registry import PostgresDeviceRegistry
from payment_token.infrastructure.database.pool import Pool

_PAGE = 500

_STYLES = {
    DeviceState.REGISTERED: "default",
    DeviceState.ACTIVE: "green",
    DeviceState.SUSPENDED: "yellow",
    DeviceState.STOLEN: "red",
    DeviceState.RETIRED: "dim",
}


def list_devices(
    merchant: str | None = typer.Option(
        None, "--merchant", metavar="ID", help="Its terminals only."
    ),
    state: DeviceState | None = typer.Option(None, "--state", help="Those in this state only."),
    as_json: bool = typer.Option(False, "--json", help="For programs: one array."),
) -> None:
    """List the terminals."""
    owner = None if merchant is None else checked_merchant(merchant)

    async def read(pool: Pool) -> Sequence[RegistryEntry]:
        registry, after = PostgresDeviceRegistry(pool), ("", "")
        found: list[RegistryEntry] = []
        while page := await registry.page(owner, state, after=after, limit=_PAGE):
            found += page
            after = (page[-1].device.merchant_id, page[-1].device.device_id)
        return found

    found = with_pool(load_settings(), read)
    if as_json:
        typer.echo(
            json.dumps([registry_document(entry) for entry in found], indent=2, default=_exact)
        )
    else:
        console.print(_table(found))


def show(
    device_id: str = DeviceArgument,
    merchant: str = MerchantOption,
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> None:
    """Show one terminal: what it is, its state, and each of its initial keys with its counter."""
    owner, name = names_of(device_id, merchant)

    async def read(pool: Pool) -> RegistryEntry | None:
        return await PostgresDeviceRegistry(pool).find(owner, name)

    entry = with_pool(load_settings(), read)
    if entry is None:
        raise DeviceNotFoundError
    if as_json:
        typer.echo(json.dumps(registry_document(entry), indent=2, default=_exact))
        return
    facts = listing("", "")
    for field_name, value in _facts(entry):
        # A device id may hold square brackets, which would be taken for markup.
        facts.add_row(field_name, escape(value))
    console.print(facts)
    console.print(_keys(entry))


def _table(found: Sequence[RegistryEntry]) -> Table:
    table = listing(
        "merchant",
        "device",
        "key",
        "state",
        "make and model",
        "serial",
        "profile",
        "last seen",
        "tokens",
    )
    for entry in found:
        device, registration = entry.device, entry.registration
        table.add_row(
            device.merchant_id,
            escape(device.device_id),
            device.bdk_id or "",
            f"[{_STYLES[device.state]}]{device.state}[/]",
            escape(" ".join(filter(None, (registration.make, registration.model)))),
            escape(device.serial or ""),
            registration.profile_name or spoken(device.profile),
            _minute(entry.last_seen_at),
            f"{entry.tokens:,}",
        )
    return table


def _facts(entry: RegistryEntry) -> list[tuple[str, str]]:
    device, registration = entry.device, entry.registration
    named = f"{registration.profile_name}: " if registration.profile_name else ""
    since = f" since {_minute(entry.state_changed_at)}"
    because = f", because: {entry.state_reason}" if entry.state_reason else ""
    return [
        ("device", device.device_id),
        ("merchant", device.merchant_id),
        ("state", f"{device.state}{since}{because}"),
        ("key", device.bdk_id or "by its KSN"),
        ("profile", f"{named}{spoken(device.profile)}"),
        ("make", registration.make or ""),
        ("model", registration.model or ""),
        ("firmware", registration.firmware or ""),
        ("serial", device.serial or ""),
        ("registered", _minute(entry.created_at)),
        ("first seen", _minute(entry.first_seen_at) or "never"),
        ("last seen", _minute(entry.last_seen_at) or "never"),
        ("tokens", f"{entry.tokens:,}"),
    ]


def _keys(entry: RegistryEntry) -> Table:
    table = listing("initial key", "of key", "newest counter", "tokens", "first seen", "last seen")
    for key in entry.initial_keys:
        table.add_row(
            key.initial_key_id.hex().upper(),
            key.bdk_id,
            "none" if key.high_water is None else f"{key.high_water:,}",
            f"{key.tokens:,}",
            _minute(key.first_seen_at) or "never",
            _minute(key.last_seen_at) or "never",
        )
    if not entry.initial_keys:
        table.add_row("none yet: its first read binds it", "", "", "", "", "")
    return table


def _minute(time: datetime | None) -> str:
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _exact(time: Any) -> str:
    return str(time.astimezone(UTC).isoformat().replace("+00:00", "Z"))
