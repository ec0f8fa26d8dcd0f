"""``payment-token recover``: after a restore from backup, before the service starts again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import typer

from payment_token.bootstrap.recovery import recover as recover_database
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, listing
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.recovery.recover import Recovery
from payment_token.infrastructure.process_hardening import forbid_core_dumps

_SAID = {
    "revoked_tokens": "tokens are revoked again, and shredded",
    "ended_sad": "tokens lose their sensitive authentication data again",
    "revoked_api_keys": "API keys are revoked again",
    "shortened_api_keys": "API keys expire when the log says again",
    "retired_bdks": "base derivation keys are retired again",
    "stopped_devices": "devices are suspended, stolen or retired again",
    "ended_keys": "key versions are as the log says: retired, destroyed, or made since and lost",
    "unreadable_tokens": "tokens are under keys that were destroyed: nothing opens them, so they are revoked",
}


def recover(
    archive: Path = typer.Option(
        ..., "--archive", metavar="DIR", file_okay=False, exists=True, help="The archive folder."
    ),
    checkpoints: Path | None = typer.Option(
        None,
        "--checkpoints",
        metavar="FILE",
        help="The checkpoints outside: without them nobody can say what is lost.",
    ),
    keys: Path | None = typer.Option(
        None,
        "--keys",
        metavar="FILE",
        help="The log's public keys, a vkey a line. Default: those that the restored database knows.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Do it. Default: show what would be done."),
) -> None:
    """After a restore from backup: bring back what the audit log has seen since."""
    settings = load_settings()
    forbid_core_dumps()
    database_url(settings)
    done = asyncio.run(recover_database(settings, archive, checkpoints, keys, keep=yes))
    _show(done, kept=yes)


def _show(done: Recovery, *, kept: bool) -> None:
    reach = done.reach
    console.print(
        f"The restored database has {reach.restored:,} sealed records, the archive {reach.archived:,}."
    )
    table = listing("", "")
    table.add_row(f"{done.put_back:,}", "audit records come back")
    for name, count in done.applied.counts.items():
        if count:
            table.add_row(f"{count:,}", _SAID[name])
    console.print(table)
    if reach.lost_to is not None:
        console.print(
            f"[red]Lost: the leaves {reach.recovered:,} to {reach.lost_to - 1:,}.[/] A checkpoint outside covers them, and"
            " the archive does not have them. What they ended may be alive."
        )
    if not done.changes:
        console.print("Nothing to recover: the database has it all.")
    elif not kept:
        console.print("Nothing was changed. --yes does this.")
    else:
        console.print("Recovered, and recorded in the audit log. Next:")
        for number, step in enumerate(_next_steps(done), 1):
            console.print(f"{number}. {step}")


def _next_steps(done: Recovery) -> Iterator[str]:
    purposes = {
        fate.purpose
        for fate in done.endings.keys.values()
        if fate.is_gone or fate.moved_to is not None or fate.activated_at is not None
    }
    if KeyPurpose.AUDIT_SIGNING in purposes:
        yield (
            "payment-token keys status: if the audit signing key does not open, its KEK is gone:"
            " payment-token keys replace-lost-signing-key"
        )
    for purpose in sorted(purposes - {KeyPurpose.AUDIT_SIGNING}):
        yield f"payment-token keys rotate --purpose {purpose}: its keys changed in the time that is lost"
    made = done.endings.made.get("api_keys", 0)
    if made:
        yield f"payment-token api-keys create: {made:,} API keys were made in the time that is lost, and are unknown now"
    devices = done.endings.made.get("devices", 0)
    if devices:
        yield f"payment-token devices import: {devices:,} devices were registered in the time that is lost, and are unknown now"
    if done.reach.lost_to is not None:
        yield (
            "tell integrators and the workers' owners from when to when: revocations and completions of the lost"
            " records have to be made again"
        )
    yield "start the service, then payment-token audit verify"
    yield "terminals: their replay marks are as old as the backup; read docs/operations/audit-archive.md"
