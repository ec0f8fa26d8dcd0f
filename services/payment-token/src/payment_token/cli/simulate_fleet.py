"""``payment-token simulate fleet``: a day of a shop floor against a running service."""

import asyncio
import signal
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import httpx
import typer

from payment_token.cli.deployment import load_settings, operators_audit_log, with_custody
from payment_token.cli.development import DEMO_MERCHANT
from payment_token.cli.device_changes import changes_of
from payment_token.cli.fleet.comparison import differing, table
from payment_token.cli.fleet.day import Day, Visit
from payment_token.cli.fleet.floor import DEFAULT_PROFILES, Floor, FloorMaker
from payment_token.cli.fleet.sending import Answer, Sender
from payment_token.cli.simulate import progress, public_url, read_api_key
from payment_token.cli.terminal import console
from payment_token.domain.enrolment import RegistrationRule
from payment_token.domain.identifiers import MerchantId
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

_READS_OF_A_DEVICE = 8
_TIMEOUT_SECONDS = 10.0


def fleet(
    devices: int = typer.Option(500, "--devices", min=1, max=20_000),
    rate: float = typer.Option(200.0, "--rate", min=0.1, help="Requests a second, never more."),
    reads: int | None = typer.Option(
        None, "--reads", min=1, help="About how many requests. Default: 8 for each device."
    ),
    duration: float | None = typer.Option(
        None, "--duration", min=0.1, metavar="SECONDS", help="Instead of --reads."
    ),
    seed: int = typer.Option(1, "--seed", help="The same seed gives the same day."),
    at_once: int = typer.Option(32, "--at-once", min=1, max=1000, help="Requests under way."),
    profiles: list[str] = typer.Option(
        list(DEFAULT_PROFILES), "--profile", help="The readers of the fleet; repeat it for more."
    ),
    merchant: str = typer.Option(DEMO_MERCHANT, "--merchant"),
    url: str | None = typer.Option(
        None, "--url", help="Default: PUBLIC_ADDRESS of the configuration."
    ),
    api_key_file: Path | None = typer.Option(
        None, "--api-key-file", help="Default: api-key beside the .env."
    ),
) -> None:
    """A fleet that sends good and bad reads. Compares each answer with what it should be; exit 1 when one differs."""
    settings = load_settings()
    if settings.in_production:
        raise ConfigurationError("Terminals are simulated outside production only.")
    owner = MerchantId(merchant)
    made = _made(settings, owner, devices, profiles)
    required = settings.registration_rule is RegistrationRule.REQUIRED
    day = Day(made, owner, seed, registration_required=required)
    most = reads or (int(rate * duration) if duration else devices * _READS_OF_A_DEVICE)
    client = httpx.AsyncClient(
        base_url=url or public_url(settings),
        headers={"Authorization": f"Bearer {read_api_key(settings, api_key_file)}"},
        timeout=_TIMEOUT_SECONDS,
        limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
    )
    started = time.monotonic()
    answers, stopped = asyncio.run(_sent(client, day, rate, at_once, most, duration))
    _report(answers, time.monotonic() - started, seed, stopped=stopped)
    if not answers or differing(answers):
        raise typer.Exit(1)


def _made(settings: Settings, merchant: MerchantId, devices: int, profiles: list[str]) -> Floor:
    async def make(pool: Pool, custodians: Custodians) -> Floor:
        directory = PostgresDeviceDirectory(pool)
        known = await directory.list_bdks()
        async with operators_audit_log(settings, pool) as log:
            changes = changes_of(pool, log)
            return await FloorMaker(merchant, changes, custodians, known).make(devices, profiles)

    made = with_custody(settings, make)
    console.print(f"{devices} terminals are injected and registered.")
    return made


async def _sent(
    client: httpx.AsyncClient,
    day: Day,
    rate: float,
    at_once: int,
    most: int,
    duration: float | None,
) -> tuple[list[Answer], bool]:
    """The answers, and whether Ctrl-C came before the day was over."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    over = None if duration is None else time.monotonic() + duration
    with progress() as bar:
        task = bar.add_task("requests", total=most)
        sender = Sender(client, rate, at_once, interrupted, lambda: bar.advance(task))
        async with client:
            await sender.send(_until(day.visits(), sender, most, over))
    return sender.answers, interrupted.is_set()


def _until(
    visits: Iterator[Visit], sender: Sender, most: int, over: float | None
) -> Iterator[Visit]:
    """A visit that has begun is finished, so a few more may be sent."""

    def goes_on(_: Visit) -> bool:
        in_time = over is None or time.monotonic() < over
        return in_time and len(sender.answers) + sender.under_way < most

    return takewhile(goes_on, visits)


def _report(answers: list[Answer], seconds: float, seed: int, *, stopped: bool) -> None:
    console.print(table(answers))
    wrong = differing(answers)
    verdict = "Every answer is as it should be." if not wrong else f"{wrong} answers differ."
    early = "Stopped early. " if stopped else ""
    console.print(
        f"{early}{len(answers)} requests in {seconds:.1f} s ({len(answers) / max(seconds, 0.001):.0f}/s), seed {seed}. {verdict}"
    )
