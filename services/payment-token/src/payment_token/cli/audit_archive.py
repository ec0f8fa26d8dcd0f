"""``payment-token audit archive``: closed months are kept outside the database, and leave it when they are old."""

import asyncio
from pathlib import Path

import typer

from payment_token.bootstrap.audit_archive import ArchiveWork, opened_archive
from payment_token.cli.audit_export import ToOption
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.export_progress import shown_progress
from payment_token.cli.terminal import console
from payment_token.domain.audit_archive.month import Month
from payment_token.domain.maintain import BusyError
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.settings import ConfigurationError, Settings


def archive(
    to: Path = ToOption,
    remove_expired: bool = typer.Option(
        False,
        "--remove-expired",
        help="Remove the archive's entries of months older than AUDIT_RETENTION_YEARS and under no hold.",
    ),
    month: str | None = typer.Option(
        None, "--month", metavar="YYYY-MM", help="With --remove-expired: not beyond this month."
    ),
) -> None:
    """Export and verify closed months, then take those older than AUDIT_HOT_MONTHS out of the database."""
    if month is not None and not remove_expired:
        raise ConfigurationError("--month goes with --remove-expired.")
    settings = load_settings()
    up_to = None if month is None else Month.parse(month)
    forbid_core_dumps()
    database_url(settings)
    asyncio.run(_archive(settings, to, up_to, remove_expired=remove_expired))


async def _archive(
    settings: Settings, to: Path, up_to: Month | None, *, remove_expired: bool
) -> None:
    busy = False
    async with opened_archive(settings, to, as_owner=True) as work:
        with work.archive.alone():
            try:
                await (_remove(work, up_to) if remove_expired else _keep(work))
            except BusyError:
                busy = True
    if busy:
        raise ConfigurationError(
            "A transaction that uses the audit log does not end, so no month can leave the database now: the next run"
            " tries again. pg_stat_activity shows who; a dump ends by itself."
        )


async def _keep(work: ArchiveWork) -> None:
    steps = 0
    with shown_progress("exporting") as report:
        async for step in work.archive_months(await work.log.now(), report):
            steps += 1
            console.print(f"{step.month} {step.done}.")
    if not steps:
        console.print("Every closed month is archived, and none is due to leave the database.")


async def _remove(work: ArchiveWork, up_to: Month | None) -> None:
    removed = 0
    async for each in work.remove_expired(await work.log.now(), up_to):
        removed += 1
        console.print(f"{each.month} is gone from the archive: {each.leaves:,} entries.")
    if not removed:
        console.print("Nothing has expired.")
