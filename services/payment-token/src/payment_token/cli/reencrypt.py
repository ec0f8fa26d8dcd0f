"""``payment-token keys reencrypt``: old records come under the active service key, while the service goes on."""

import asyncio
import time

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from payment_token.bootstrap.key_life import KeyLife
from payment_token.cli.deployment import load_settings, with_key_life
from payment_token.cli.terminal import console
from payment_token.domain.key_life.reencrypt_records import Progress, Reencrypted
from payment_token.settings import ConfigurationError


def reencrypt(
    payload: bool = typer.Option(
        False,
        "--payload",
        help="Seal the card data itself anew under new DEKs, not only the DEKs: after a compromise. Rotate first.",
    ),
    rate: float = typer.Option(
        0.0, "--rate", min=0.0, help="Records a second at the most; 0 is as fast as it goes."
    ),
    batch_size: int = typer.Option(
        200, "--batch-size", min=1, max=1000, help="Records in one transaction, locked meanwhile."
    ),
) -> None:
    """Bring every record under the active service key. May be stopped and started at any moment; several may run."""

    async def run(life: KeyLife) -> tuple[Reencrypted, str]:
        remaining = await life.reencrypt.remaining()
        if payload and remaining == 0:
            raise ConfigurationError(
                "Every record is under the active key, and --payload seals only what is under older ones:"
                " `payment-token keys rotate` first."
            )
        started = time.monotonic()
        latest = await _with_progress(
            life, remaining, payload=payload, rate=rate, batch_size=batch_size
        )
        seconds = time.monotonic() - started
        speed = f"in {seconds:,.1f} s ({latest.changed / seconds:,.0f}/s)"
        return await life.reencrypt.finish(latest, payload=payload), speed

    done, speed = with_key_life(load_settings(), run)
    console.print(
        f"{done.changed:,} records came under {done.version} {speed};"
        f" {done.remaining:,} remain under older versions."
    )
    if done.damaged:
        console.print(
            f"[red]{done.damaged:,} records do not open, or the key of their version does not; they stay as they are.[/]"
        )
    if done.remaining:
        raise typer.Exit(1)
    console.print("Next: payment-token keys retire the older version, then destroy it.")


async def _with_progress(
    life: KeyLife, remaining: int, *, payload: bool, rate: float, batch_size: int
) -> Progress:
    started, latest = time.monotonic(), Progress(0, 0)
    with _bar() as bar:
        task = bar.add_task("re-encrypting", total=remaining, rate="")
        async for latest in life.reencrypt.run(payload=payload, batch_size=batch_size):
            seconds = time.monotonic() - started
            bar.update(task, completed=latest.changed, rate=f"{latest.changed / seconds:,.0f}/s")
            if rate:
                await asyncio.sleep(max(0.0, latest.changed / rate - seconds))
    return latest


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
