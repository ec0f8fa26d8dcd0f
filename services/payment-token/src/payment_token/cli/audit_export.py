"""``payment-token audit export``: the sealed log goes into an archive folder, which proves itself without the database."""

import asyncio
from pathlib import Path

import typer

from payment_token.bootstrap.audit_archive import ArchiveWork, opened_archive
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.export_progress import shown_progress
from payment_token.cli.terminal import console
from payment_token.domain.audit_archive.month import Month
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.settings import ConfigurationError, Settings

ToOption = typer.Option(
    ..., "--to", metavar="DIR", file_okay=False, help="The folder of the archive; made if absent."
)


def export(
    to: Path = ToOption,
    month: str | None = typer.Option(
        None, "--month", metavar="YYYY-MM", help="Up to this closed month, with its manifest."
    ),
    all_sealed: bool = typer.Option(
        False, "--all-sealed", help="Up to the newest seal: for cron, each minute."
    ),
) -> None:
    """Write what is sealed, and is not there yet. May be stopped at any moment, and goes on where it was."""
    if (month is None) != all_sealed:
        raise ConfigurationError("--month YYYY-MM or --all-sealed: one of the two.")
    settings = load_settings()
    wanted = None if month is None else Month.parse(month)
    forbid_core_dumps()
    database_url(settings)
    asyncio.run(_export(settings, to, wanted))


async def _export(settings: Settings, to: Path, wanted: Month | None) -> None:
    async with opened_archive(settings, to, as_owner=False) as work:
        with work.archive.alone(), shown_progress("exporting") as report:
            now = await work.log.now()
            if wanted is not None and not wanted.is_closed(now):
                raise ConfigurationError(
                    f"--month: {wanted} is closed on {wanted.closes_at:%Y-%m-%d}, not before."
                )
            done = await work.export(report)
            closed = await _close(work, await work.close.due(now), wanted)
    console.print(
        f"{done.after - done.before:,} records exported; the archive in {work.archive.location} has {done.after:,}."
    )
    for month in closed:
        console.print(f"{month} is closed: months/{month}.json is its signed manifest.")
    if wanted is not None and wanted not in work.archive.months():
        raise ConfigurationError(f"--month: the log has no records of {wanted}, or begins later.")


async def _close(work: ArchiveWork, due: list[Month], wanted: Month | None) -> list[Month]:
    """In their order: a month begins where the one before it ended."""
    closed = [month for month in due if wanted is None or month <= wanted]
    for month in closed:
        await work.close(month)
    return closed
