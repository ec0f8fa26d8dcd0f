"""``payment-token audit review``: what of the last day a person should look at."""

import json
from datetime import UTC, datetime, timedelta

import typer
from rich.markup import escape

from payment_token.cli.audit_read import record_reading
from payment_token.cli.deployment import load_settings, with_audit_log
from payment_token.cli.terminal import console, listing
from payment_token.cli.time_options import parse_time
from payment_token.domain.audit.review import Review, review
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.audit_search import AuditSearch
from payment_token.infrastructure.database.pool import Pool


def review_log(
    since: str = typer.Option("24h", "--since", help="24h, 7d, or a time (UTC)."),
    baseline_days: int = typer.Option(
        14, "--baseline-days", min=1, max=90, help="The days before, which it is measured by."
    ),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> None:
    """Report unusual workers, spikes, refusals and gaps. Exit 1 when there is something to look at."""
    now = datetime.now(UTC)
    begins = parse_time("--since", since, now)

    async def look(pool: Pool, log: PostgresAuditLog) -> Review:
        await record_reading(log, "review", since=begins.isoformat())
        measured_by = begins - timedelta(days=baseline_days)
        return review(await AuditSearch(pool).hours_since(measured_by), begins, now)

    found = with_audit_log(load_settings(), look)
    if as_json:
        console.print_json(json.dumps(_for_programs(found, begins, now)))
    else:
        _show(found, begins, now)
    if found.findings:
        raise typer.Exit(1)


def _for_programs(found: Review, since: datetime, until: datetime) -> dict[str, object]:
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "findings": [
            {"what": each.what, "identity": each.identity, "text": each.text}
            for each in found.findings
        ],
        "workers": {
            name: {"released": released, "refused": refused}
            for name, (released, refused) in found.workers.items()
        },
        "events": dict(found.events),
    }


def _show(found: Review, since: datetime, until: datetime) -> None:
    console.print(f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC")
    workers = listing("worker", "released", "refused")
    for name, (released, refused) in found.workers.items():
        workers.add_row(escape(name) or "without an identity", f"{released:,}", f"{refused:,}")
    if found.workers:
        console.print(workers)
    counts = ", ".join(f"{kind} {number:,}" for kind, number in sorted(found.events.items()))
    console.print(f"Records: {counts or 'none'}")
    if not found.findings:
        console.print("[green]Nothing unusual.[/]")
        return
    table = listing("what", "who", "")
    for each in found.findings:
        table.add_row(f"[yellow]{each.what}[/]", escape(each.identity), escape(each.text))
    console.print(table)
