"""``payment-token api-keys list``: each key, what it may do, and what became of it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import typer
from rich.markup import escape
from rich.table import Table

from payment_token.cli.deployment import load_settings, with_pool
from payment_token.cli.terminal import console, listing
from payment_token.domain.api_key import KeyReading
from payment_token.domain.api_key_review import Standing, standing_of
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.pool import Pool

_STYLES = {
    Standing.ACTIVE: "green",
    Standing.EXPIRES_SOON: "yellow",
    Standing.EXPIRED: "dim",
    Standing.REVOKED: "dim",
}


def list_keys(
    as_json: bool = typer.Option(False, "--json", help="For programs: one array."),
) -> None:
    """List the keys, without their secrets. When a key was last used is known to about two minutes."""

    async def read(pool: Pool) -> Sequence[KeyReading]:
        return await PostgresAPIKeyStore(pool).list_all()

    found = with_pool(load_settings(), read)
    if as_json:
        typer.echo(json.dumps([_document(reading) for reading in found], indent=2))
    else:
        console.print(_table(found))


def _table(found: Sequence[KeyReading]) -> Table:
    table = listing(
        "id", "name", "merchants", "scopes", "rate", "created", "expires", "last used", "state"
    )
    for reading in found:
        key, standing = reading.key, standing_of(reading)
        table.add_row(
            key.key_id,
            escape(key.name),
            ", ".join(key.merchants),
            ", ".join(sorted(key.scopes)),
            "" if key.rate is None else str(key.rate),
            _minute(key.created_at),
            _minute(key.expires_at) or "never",
            _minute(key.last_used_at) or "never",
            f"[{_STYLES[standing]}]{standing}[/]"
            + (f", replaced by {key.replaced_by}" if key.replaced_by else ""),
        )
    return table


def _document(reading: KeyReading) -> dict[str, object]:
    key = reading.key
    return {
        "key_id": key.key_id,
        "name": key.name,
        "merchants": key.merchants,
        "scopes": sorted(key.scopes),
        "rate": (
            None
            if key.rate is None
            else {"per_second": key.rate.per_second, "burst": key.rate.burst}
        ),
        "state": standing_of(reading).replace(" ", "_"),
        "created_at": _exact(key.created_at),
        "expires_at": _exact(key.expires_at),
        "last_used_at": _exact(key.last_used_at),
        "revoked_at": _exact(key.revoked_at),
        "replaced_by": key.replaced_by,
    }


def _minute(time: datetime | None) -> str:
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _exact(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
