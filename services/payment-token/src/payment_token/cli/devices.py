"""``payment-token devices``: the terminals that may send."""

import typer

from payment_token.cli.bdk import usable_bdk
from payment_token.cli.device_changes import with_changes
from payment_token.cli.profile_options import (
    CipherOption,
    ContainerOption,
    IVOption,
    KeyVariantOption,
    ModeOption,
    initialisation_vector,
    named_profile,
)
from payment_token.cli.terminal import console
from payment_token.domain.change_devices import ChangeDevices, Registered
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import (
    DeviceRequest,
    checked_device,
    checked_merchant,
    checked_registration,
)
from payment_token.domain.errors import DeviceExistsError, InitialKeyTakenError
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
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
        help="A KSN of the device: binds its initial key now, not at its first payload. Repeatable: some readers have"
        " several initial keys.",
    ),
    serial: str | None = typer.Option(
        None, "--serial", help="The maker's serial number: a reader that states another is refused."
    ),
    make: str | None = typer.Option(None, "--make", help="Who made it."),
    model: str | None = typer.Option(None, "--model"),
    firmware: str | None = typer.Option(None, "--firmware", help="Its version."),
    profile: str | None = typer.Option(
        None,
        "--profile",
        metavar="NAME",
        help="How it encrypts, by name: `devices profiles` lists them. In the place of the options below.",
    ),
    scheme: Scheme | None = typer.Option(
        None, "--scheme", help="Default: the one that the key serves."
    ),
    key_variant: KeyVariant | None = KeyVariantOption,
    cipher: Cipher | None = CipherOption,
    mode: Mode | None = ModeOption,
    iv: str | None = IVOption,
    container: Container | None = ContainerOption,
) -> None:
    """Register a terminal. What its profile says, a request may leave out, and may not contradict."""
    spelled = DeviceProfile(scheme, key_variant, cipher, mode, initialisation_vector(iv), container)
    if profile is not None and spelled != DeviceProfile():
        raise ConfigurationError("--profile names all of it: leave out --cipher and the like.")

    async def add(changes: ChangeDevices, pool: Pool) -> Registered:
        owner = checked_merchant(merchant)
        # Before the key is looked for: a card number is named as one whatever else is wrong.
        checked_device(device_id)
        known = await usable_bdk(PostgresDeviceDirectory(pool), bdk, owner)
        chosen = spelled if profile is None else (await named_profile(pool, profile)).profile
        request = DeviceRequest(
            owner, device_id, bdk, ksn, serial, make, model, firmware, profile, chosen
        )
        return await changes.register(checked_registration(request, known))

    try:
        registered = with_changes(add)
    except InitialKeyTakenError:
        raise ConfigurationError("--ksn: its initial key is another device's.") from None
    except DeviceExistsError:
        raise ConfigurationError(
            f"The merchant {merchant} has a device {device_id} already, and what it is registered with differs:"
            " `payment-token devices show` has it."
        ) from None
    if registered is Registered.BEFORE:
        console.print(
            f"{device_id} of {merchant} was registered so before. Nothing changed.", markup=False
        )
        return
    console.print(f"Registered {device_id} of {merchant}, served by {bdk}.", markup=False)
