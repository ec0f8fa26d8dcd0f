"""``payment-token simulate``: terminals in software, against a running service."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from payment_token.cli.deployment import load_settings, with_custody
from payment_token.cli.development import DEMO_MERCHANT
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.terminal import console, listing
from payment_token.cli.virtual_terminal import Encryption, VirtualTerminal, inject
from payment_token.domain.device_payload import KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.reader_profiles import BUILT_IN
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.device_directory import (
    PostgresDeviceDirectory,
    RegisteredBDK,
)
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

app = typer.Typer(help="Terminals in software.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Terminals in software."""


@app.command()
def terminal(
    profile_name: str | None = typer.Option(
        None, "--profile", metavar="NAME", help=f"A reader: {', '.join(BUILT_IN)}."
    ),
    scheme: Scheme | None = typer.Option(None, "--scheme", help="Default: dukpt-aes."),
    count: int = typer.Option(10, "--count", min=1, help="How many reads to send."),
    rate: float = typer.Option(
        0.0, "--rate", min=0.0, help="Reads a second; 0 is as fast as they are answered."
    ),
    part: PartFormat = typer.Option(PartFormat.TRACK2, "--format", help="What each read is."),
    bdk_id: str | None = typer.Option(
        None, "--bdk", help="The id of a BDK; default: the scheme's."
    ),
    key_variant: KeyVariant | None = typer.Option(
        None, "--key-variant", help="Default: data-request."
    ),
    mode: Mode | None = typer.Option(None, "--mode", help="Default: cbc."),
    merchant: str = typer.Option(DEMO_MERCHANT, "--merchant"),
    device_id: str | None = typer.Option(None, "--device-id", help="Default: a new one."),
    url: str | None = typer.Option(
        None, "--url", help="Default: PUBLIC_ADDRESS of the configuration."
    ),
    api_key_file: Path | None = typer.Option(
        None, "--api-key-file", help="Default: api-key beside the .env."
    ),
    only_print: bool = typer.Option(
        False, "--print", help="Print the requests, one on a line, instead of sending them."
    ),
) -> None:
    """A terminal that encrypts published test cards under a key that the BDK's custodian gives, and sends them."""
    settings = load_settings()
    if settings.in_production:
        raise ConfigurationError("Terminals are simulated outside production only.")

    profile = _profile(profile_name, DeviceProfile(scheme, key_variant, mode=mode))

    async def injected(pool: Pool, custodians: Custodians) -> tuple[str, VirtualTerminal]:
        bdk = choose_bdk(await PostgresDeviceDirectory(pool).list_bdks(), profile, bdk_id)
        name = device_id or f"SIM-{uuid.uuid4().hex[:8]}"
        encryption = Encryption.of(profile)
        return bdk.bdk_id, await inject(name, merchant, bdk, custodians, encryption)

    chosen, virtual = with_custody(settings, injected)
    if only_print:
        _print_bodies(virtual, merchant, part, count)
        return
    headers = {"Authorization": f"Bearer {read_api_key(settings, api_key_file)}"}
    answers: Counter[str] = Counter()
    tokens: list[dict[str, str]] = []
    with (
        httpx.Client(base_url=url or public_url(settings), headers=headers, timeout=10) as client,
        progress() as bar,
    ):
        task = bar.add_task(f"{virtual.device_id} ({chosen})", total=count)
        started = time.monotonic()
        for number in range(count):
            _wait_for_turn(started, number, rate)
            card = PUBLISHED_CARDS[number % len(PUBLISHED_CARDS)]
            answer = _send(client, virtual.create_body(merchant, card, part))
            body = answer.json()
            answers[str(body.get("code", answer.status_code))] += 1
            if answer.is_success:
                tokens.append(
                    {
                        "token": body["payment_token"],
                        **{key: body["card"][key] for key in ("brand", "last4")},
                    }
                )
            bar.advance(task)
    _summarise(answers, tokens, time.monotonic() - started)
    if len(tokens) < count:
        raise typer.Exit(1)


def _print_bodies(virtual: VirtualTerminal, merchant: str, part: PartFormat, count: int) -> None:
    for number in range(count):
        card = PUBLISHED_CARDS[number % len(PUBLISHED_CARDS)]
        body = virtual.create_body(merchant, card, part)
        console.print(json.dumps(body), markup=False, soft_wrap=True)


def _profile(name: str | None, spoken: DeviceProfile) -> DeviceProfile:
    if name is None:
        return spoken.over(DeviceProfile(Scheme.DUKPT_AES))
    if spoken != DeviceProfile():
        raise ConfigurationError(
            "--profile settles the rest: leave out --scheme, --key-variant and --mode."
        )
    if name not in BUILT_IN:
        raise ConfigurationError(f"--profile: one of {', '.join(BUILT_IN)}.")
    return BUILT_IN[name].profile


def choose_bdk(
    known: Sequence[RegisteredBDK], profile: DeviceProfile, bdk_id: str | None = None
) -> BaseDerivationKey:
    """The key of that id, else the default of the scheme, else, where that does not allow the profile, one that does.

    Raises ConfigurationError when none serves.
    """
    usable = [one.bdk for one in known if one.retired_at is None]
    serving = [bdk for bdk in usable if bdk.algorithm.scheme is profile.scheme]
    allowed = [
        bdk for bdk in serving if profile.key_variant is not KeyVariant.PIN or bdk.allow_pin_variant
    ]
    if bdk_id is not None:
        allowed = [bdk for bdk in allowed if bdk.bdk_id == bdk_id]
    if not allowed:
        variant = ", for the pin variant with --allow-pin-variant" if serving else ""
        raise ConfigurationError(
            f"No key serves {profile.scheme} here so. `payment-token bdk list` shows the keys; choose with --bdk, or bring"
            f" one in with `payment-token bdk import`{variant}."
        )
    return min(allowed, key=lambda bdk: (not bdk.is_default, bdk.ksn_prefix is None))


def read_api_key(settings: Settings, path: Path | None) -> str:
    path = path or settings.folder / "api-key"
    try:
        return path.read_text().strip()
    except OSError:
        raise ConfigurationError(
            f"There is no API key in {path}. Make one: payment-token api-keys create"
        ) from None


def public_url(settings: Settings) -> str:
    scheme = "https" if settings.public_tls_cert_file else "http"
    return f"{scheme}://{settings.public_address}"


def _send(client: httpx.Client, body: dict[str, object]) -> httpx.Response:
    try:
        return client.post(
            "/v1/payment-tokens", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}
        )
    except httpx.TransportError as error:
        raise ConfigurationError(
            f"{client.base_url} does not answer ({type(error).__name__}). Is `payment-token serve` running?"
        ) from None


def _wait_for_turn(started: float, number: int, rate: float) -> None:
    if rate:
        time.sleep(max(0.0, started + number / rate - time.monotonic()))


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _summarise(answers: Counter[str], tokens: list[dict[str, str]], seconds: float) -> None:
    table = listing("token", "card")
    for token in tokens[-5:]:
        table.add_row(token["token"], f"{token['brand']} …{token['last4']}")
    if tokens:
        console.print(table)
    listed = ", ".join(f"{number} x {answer}" for answer, number in answers.most_common())
    console.print(f"{listed} in {seconds:.1f} s ({sum(answers.values()) / seconds:.0f}/s)")
