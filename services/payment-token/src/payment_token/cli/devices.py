"""``payment-token devices``: the terminals that may send."""

import typer
from rich.markup import escape
from rich.table import Table

from payment_token.cli.bdk import usable_bdk
from payment_token.cli.deployment import load_settings, with_pool
from payment_token.cli.free_text import checked_text
from payment_token.cli.profile_options import initialisation_vector
from payment_token.cli.terminal import console, listing
from payment_token.domain.custody import check_payload
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import Device, DeviceState
from payment_token.domain.errors import BadKSNError
from payment_token.domain.identifiers import DEVICE_ID, MERCHANT_ID, DeviceId, MerchantId
from payment_token.infrastructure.database.device_directory import (
    AlreadyRegisteredError,
    PostgresDeviceDirectory,
)
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError

app = typer.Typer(help="Terminals.", no_args_is_help=True)


@app.command()
def register(
    device_id: str = typer.Option(..., "--device-id"),
    merchant: str = typer.Option(..., "--merchant"),
    bdk: str = typer.Option(
        ..., "--bdk", help="The id of the key that its initial key comes from."
    ),
    ksn: list[str] = typer.Option(
        [],
        "--ksn",
        metavar="HEX",
        help="A KSN of the device: binds its initial key now, not at its first payload.",
    ),
    scheme: Scheme | None = typer.Option(
        None, "--scheme", help="Default: the one that the key serves."
    ),
    key_variant: KeyVariant | None = typer.Option(None, "--key-variant"),
    cipher: Cipher | None = typer.Option(None, "--cipher"),
    mode: Mode | None = typer.Option(None, "--mode"),
    iv: str | None = typer.Option(
        None, "--iv", metavar="HEX", help="A fixed initialisation vector."
    ),
) -> None:
    """Register a terminal. What its profile says, a request may leave out, and may not contradict."""
    settings = load_settings()
    device_name, owner = checked_names(device_id, merchant)

    async def add(pool: Pool) -> None:
        directory = PostgresDeviceDirectory(pool)
        known = await usable_bdk(directory, bdk, owner)
        served = known.algorithm.scheme
        if scheme not in (None, served):
            raise ConfigurationError(f"--scheme: {bdk} serves {served}.")
        profile = DeviceProfile(served, key_variant, cipher, mode, initialisation_vector(iv))
        check_payload(known, profile)
        device = Device(
            merchant_id=owner,
            device_id=device_name,
            bdk_id=bdk,
            state=DeviceState.REGISTERED,
            profile=profile,
            initial_key_ids=frozenset(_initial_key_id(text, served) for text in ksn),
        )
        await directory.register_device(device)

    try:
        with_pool(settings, add)
    except AlreadyRegisteredError:
        raise ConfigurationError(
            f"{merchant} has a device {device_id} already, or the key of --ksn is bound to a device."
        ) from None
    console.print(f"Registered {device_id} of {merchant}, served by {bdk}.", markup=False)


@app.command("list")
def list_devices() -> None:
    """List the terminals."""
    settings = load_settings()

    async def read(pool: Pool) -> Table:
        table = listing("merchant", "device", "key", "state", "profile")
        for device in await PostgresDeviceDirectory(pool).list_devices():
            profile = device.profile
            spoken = [
                value
                for value in (profile.scheme, profile.key_variant, profile.cipher, profile.mode)
                if value
            ]
            table.add_row(
                device.merchant_id,
                # A device id may hold square brackets, which would be taken for markup.
                escape(device.device_id),
                device.bdk_id or "",
                device.state,
                " ".join(spoken),
            )
        return table

    console.print(with_pool(settings, read))


def checked_names(device_id: str, merchant: str) -> tuple[DeviceId, MerchantId]:
    if not DEVICE_ID.fullmatch(device_id) or not MERCHANT_ID.fullmatch(merchant):
        raise ConfigurationError(
            "--device-id: 1 to 64 visible ASCII characters; --merchant: letters, digits, . _ : -"
        )
    checked_text("--device-id", device_id)
    checked_text("--merchant", merchant)
    return DeviceId(device_id), MerchantId(merchant)


def _initial_key_id(text: str, scheme: Scheme) -> bytes:
    try:
        return KSN.of_any_counter(text, scheme).initial_key_id
    except BadKSNError:
        raise ConfigurationError(f"--ksn: not a KSN of {scheme}.") from None
