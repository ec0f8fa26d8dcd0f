"""``payment-token maintain``: one run of maintenance, for cron."""

import asyncio
import time

import typer

from payment_token.bootstrap.upkeep import Upkeep
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, report_error
from payment_token.domain.maintain import Maintained


def maintain() -> None:
    """Make the partitions of the days ahead, drop what has expired. Exit 1 when something is left to do."""
    settings = load_settings()
    started = time.monotonic()
    done = asyncio.run(Upkeep(settings, database_url(settings)).run())
    if done is None:
        console.print("Another process maintains this database just now: nothing to do.")
        return
    console.print(f"{_what_was_done(done)} in {time.monotonic() - started:.1f} s.", soft_wrap=True)
    if not done.complete:
        days = ", ".join(str(day) for day in (*done.missing, *done.kept))
        report_error(
            f"The partitions of {days} are in use by a transaction that does not end: the next run tries again."
            " pg_stat_activity shows who; a dump ends by itself."
        )
        raise typer.Exit(1)


def _what_was_done(done: Maintained) -> str:
    tokens = f" (about {done.about_tokens:,} tokens)" if done.dropped else ""
    months = (
        f" and {_count(done.audit_months, 'month')} of the audit log" if done.audit_months else ""
    )
    uses = f" and {_count(done.uses, 'token')} of workers' old budgets" if done.uses else ""
    return (
        f"Made {_count(done.made, 'partition')}{months}, dropped {done.dropped:,}{tokens},"
        f" purged {_count(done.keys, 'idempotency key')}{uses}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
