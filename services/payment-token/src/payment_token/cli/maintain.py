"""``payment-token maintain``: one run of maintenance, for cron."""

import asyncio
import time

import typer

from payment_token.bootstrap.upkeep import Upkeep
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, report_error
from payment_token.domain.end_overdue_sad import EndedSAD
from payment_token.domain.maintain import Maintained


def maintain() -> None:
    """Make the partitions of the days ahead, drop what has expired, end overdue SAD. Exit 1 when something is left to do."""
    settings = load_settings()
    started = time.monotonic()
    upkeep = Upkeep(settings, database_url(settings))
    ended, done = asyncio.run(_run(upkeep))
    if ended is not None and ended.tokens:
        console.print(f"Ended the SAD of {_count(ended.tokens, 'token')} past its deadline.")
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


async def _run(upkeep: Upkeep) -> tuple[EndedSAD | None, Maintained | None]:
    return await upkeep.end_overdue_sad(), await upkeep.run()


def _what_was_done(done: Maintained) -> str:
    tokens = f" (about {done.about_tokens:,} tokens)" if done.dropped else ""
    months = (
        f" and {_count(done.audit_months, 'month')} of the audit log" if done.audit_months else ""
    )
    uses = f" and {_count(done.uses, 'token')} of workers' old budgets" if done.uses else ""
    events = f" and {_count(done.events, 'old device event')}" if done.events else ""
    return (
        f"Made {_count(done.made, 'partition')}{months}, dropped {done.dropped:,}{tokens},"
        f" purged {_count(done.keys, 'idempotency key')}{uses}{events}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
