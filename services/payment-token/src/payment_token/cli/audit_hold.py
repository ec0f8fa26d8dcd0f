"""``payment-token audit hold``: legal holds, which keep months of the audit log whatever their age."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import typer
from rich.markup import escape

from payment_token.bootstrap.audit_archive import opened_holds
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.free_text import checked_text
from payment_token.cli.terminal import console, listing
from payment_token.domain.audit_archive.legal_hold import LegalHolds
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.audit_archive.retention import Hold

Result = TypeVar("Result")

app = typer.Typer(
    help="Legal holds: months that are kept whatever their age.", no_args_is_help=True
)


@app.command()
def place(
    hold_id: str = typer.Argument(..., metavar="ID", help="For example the number of the case."),
    reason: str = typer.Option(..., "--reason", help="Who asked for it, and why."),
    first: str | None = typer.Option(
        None, "--from", metavar="YYYY-MM", help="Default: the whole log."
    ),
    last: str | None = typer.Option(
        None, "--to", metavar="YYYY-MM", help="The last month. Default: the first."
    ),
) -> None:
    """Keep months, or the whole log, until the hold is released. It is in the audit log."""
    first_month = None if first is None else Month.parse(first)
    last_month = first_month if last is None else Month.parse(last)
    checked_text("ID", hold_id)
    checked_text("--reason", reason)

    async def work(holds: LegalHolds) -> Hold:
        return await holds.place(hold_id, reason, first_month, last_month)

    hold = _with_holds(work, as_owner=False)
    console.print(f"The hold {hold.hold_id} is in force: {_months(hold)}.")


@app.command("list")
def list_holds() -> None:
    """List every hold that there ever was."""

    async def work(holds: LegalHolds) -> Sequence[Hold]:
        return await holds.all()

    table = listing("id", "months", "reason", "placed", "by", "released")
    for hold in _with_holds(work, as_owner=False):
        table.add_row(
            escape(hold.hold_id),
            _months(hold),
            escape(hold.reason),
            "" if hold.placed_at is None else f"{hold.placed_at:%Y-%m-%d}",
            escape(hold.placed_by),
            "" if hold.released_at is None else f"{hold.released_at:%Y-%m-%d}",
        )
    console.print(table)


@app.command()
def release(hold_id: str = typer.Argument(..., metavar="ID")) -> None:
    """End a hold. It needs the login of MIGRATION_DATABASE_URL, and is in the audit log."""

    async def work(holds: LegalHolds) -> Hold:
        return await holds.release(hold_id)

    hold = _with_holds(work, as_owner=True)
    console.print(f"The hold {hold.hold_id} is released: its months go when their retention ends.")


def _with_holds(work: Callable[[LegalHolds], Awaitable[Result]], *, as_owner: bool) -> Result:
    settings = load_settings()
    database_url(settings)

    async def run() -> Result:
        async with opened_holds(settings, as_owner=as_owner) as holds:
            return await work(holds)

    return asyncio.run(run())


def _months(hold: Hold) -> str:
    if hold.first is None or hold.last is None:
        return "the whole log"
    return str(hold.first) if hold.first == hold.last else f"{hold.first} to {hold.last}"
