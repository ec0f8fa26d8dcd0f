"""``payment-token devices events``: what terminals did that an operator should hear of."""

from collections.abc import Sequence
from datetime import UTC, datetime

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from payment_token.cli.deployment import load_settings, with_pool
from payment_token.cli.terminal import console, listing
from payment_token.cli.time_options import parse_time
from payment_token.domain.device_events import DeviceEventKind
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.recorded_events import EventQuery, RecordedEvent
from payment_token.infrastructure.database.device_events import PostgresDeviceEvents
from payment_token.infrastructure.database.pool import Pool


def list_events(
    merchant: str | None = typer.Option(None, "--merchant"),
    device: str | None = typer.Option(None, "--device", help="As requests claimed it."),
    kind: DeviceEventKind | None = typer.Option(None, "--kind"),
    since: str | None = typer.Option(
        None, "--since", help="24h, 7d, or a time (UTC). Default: all that is kept."
    ),
    limit: int = typer.Option(100, "--limit", min=1, max=100_000, help="The newest come first."),
    as_json: bool = typer.Option(False, "--json", help="For programs: one event a line."),
) -> None:
    """List what terminals did that should not happen: replays, failures, unknown ones, card data in clear.

    Equal events of a minute are one, with the number of times; its KSN and detail are those of the first. They are there a
    second after they happened.
    """
    query = EventQuery(
        merchant_id=None if merchant is None else MerchantId(merchant),
        device_id=None if device is None else DeviceId(device),
        kind=kind,
        since=None if since is None else parse_time("--since", since, datetime.now(UTC)),
    )

    async def find(pool: Pool) -> Sequence[RecordedEvent]:
        return await PostgresDeviceEvents(pool).find(query, limit)

    found = with_pool(load_settings(), find)
    if as_json:
        for recorded in found:
            typer.echo(to_json(recorded.document()).decode())
    elif found:
        console.print(_table(found))
    else:
        console.print("No event.")
    if len(found) == limit:
        Console(stderr=True, highlight=False).print(f"There may be more: --limit is {limit:,}.")


def _table(found: Sequence[RecordedEvent]) -> Table:
    table = listing(
        "began (UTC)", "times", "event", "merchant", "device", "KSN", "API key", "detail"
    )
    for recorded in found:
        event = recorded.event
        table.add_row(
            f"{recorded.occurred_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            f"{recorded.count:,}",
            event.kind,
            escape(event.merchant_id),
            escape(event.device_id),
            event.ksn,
            event.api_key_id,
            escape(event.detail),
        )
    return table
