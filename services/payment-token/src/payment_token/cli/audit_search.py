"""``payment-token audit search``: who had what, when."""

from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.markup import escape

from payment_token.cli.audit_read import record_reading
from payment_token.cli.deployment import load_settings, with_audit_log
from payment_token.cli.terminal import console, listing
from payment_token.cli.time_options import parse_time
from payment_token.domain.audit import EventKind, Outcome
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.audit_search import (
    AuditQuery,
    AuditSearch,
    FoundRecord,
)
from payment_token.infrastructure.database.pool import Pool


def search(
    token: str | None = typer.Option(None, "--token", help="A payment token."),
    merchant: str | None = typer.Option(None, "--merchant"),
    identity: str | None = typer.Option(
        None,
        "--identity",
        help="Who: a worker's identity, api-key:ID, operator:USER, service:NAME.",
    ),
    event: EventKind | None = typer.Option(None, "--event"),
    outcome: Outcome | None = typer.Option(None, "--outcome"),
    code: str | None = typer.Option(None, "--code", help="An error code, such as forbidden."),
    since: str | None = typer.Option(
        None,
        "--since",
        help="24h, 7d, or a time (UTC). Default: 24h; with --token all that the database has.",
    ),
    until: str | None = typer.Option(None, "--until", help="Likewise. Default: now."),
    limit: int = typer.Option(100, "--limit", min=1, max=100_000, help="The newest come first."),
    as_json: bool = typer.Option(
        False, "--json", help="For programs: one record a line, as it was hashed."
    ),
) -> None:
    """Find records. The search itself is recorded."""
    now = datetime.now(UTC)
    begins = since or ("24h" if token is None else None)
    query = AuditQuery(
        since=None if begins is None else parse_time("--since", begins, now),
        until=None if until is None else parse_time("--until", until, now),
        token_id=token,
        merchant_id=merchant,
        identity=identity,
        event=event,
        outcome=outcome,
        code=code,
    )

    async def find(pool: Pool, log: PostgresAuditLog) -> list[FoundRecord]:
        await record_reading(
            log,
            "search",
            token=token,
            merchant=merchant,
            identity=identity,
            event=event,
            outcome=outcome,
            code=code,
            since=None if query.since is None else query.since.isoformat(),
            until=None if query.until is None else query.until.isoformat(),
        )
        return await AuditSearch(pool).find(query, limit)

    found = with_audit_log(load_settings(), find)
    if as_json:
        for record in found:
            typer.echo(f'{{"recorded_at":"{_instant(record)}","record":{record.record}}}')
    else:
        _show(found)
    if len(found) == limit:
        Console(stderr=True, highlight=False).print(f"There may be more: --limit is {limit:,}.")


def _instant(found: FoundRecord) -> str:
    return f"{found.recorded_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _show(found: list[FoundRecord]) -> None:
    if not found:
        console.print("No record. Older ones may be in the archive; --since reaches back further.")
        return
    table = listing("recorded at", "event", "outcome", "who", "merchant", "token", "for", "record")
    for record in found:
        table.add_row(
            f"{record.recorded_at:%Y-%m-%d %H:%M:%S}",
            escape(record.event or ""),
            escape(_outcome(record)),
            escape(record.identity or ""),
            escape(record.merchant_id or ""),
            escape(record.token_id or ""),
            escape(" ".join(filter(None, [record.purpose, ",".join(record.fields)]))),
            f"{record.writer_id[:8]}:{record.sequence}",
        )
    console.print(table)


def _outcome(found: FoundRecord) -> str:
    if found.code in ("ok", None):
        return found.outcome or "not a record of this service"
    return f"{found.outcome}: {found.code}"
