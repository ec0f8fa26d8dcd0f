"""``payment-token devices profiles``: how the readers of each family encrypt, by name."""

import typer
from rich.markup import escape
from rich.table import Table

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.deployment import load_settings, with_audit_log, with_pool
from payment_token.cli.profile_options import (
    CipherOption,
    ContainerOption,
    IVOption,
    KeyVariantOption,
    ModeOption,
    initialisation_vector,
    spoken,
)
from payment_token.cli.terminal import console, listing
from payment_token.domain.audit import AuditEvent, EventKind, Outcome
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.reader_profiles import BUILT_IN, NamedProfile, checked_profile
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.device_profiles import PostgresDeviceProfiles
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError

app = typer.Typer(help="Device profiles: how readers encrypt, by name.")

NameArgument = typer.Argument(..., metavar="NAME")


@app.callback(invoke_without_command=True)
def profiles(context: typer.Context) -> None:
    """Without a command: list all profiles, built-in and own."""
    if context.invoked_subcommand is None:
        list_profiles()


@app.command("list")
def list_profiles() -> None:
    """List all profiles, built-in and own."""

    async def read(pool: Pool) -> Table:
        table = listing("name", "fixes", "", "description")
        for named in BUILT_IN.values():
            table.add_row(named.name, spoken(named.profile), "built-in", named.description)
        for named in await PostgresDeviceProfiles(pool).own():
            table.add_row(named.name, spoken(named.profile), "own", escape(named.description))
        return table

    console.print(with_pool(load_settings(), read))


@app.command()
def add(
    name: str = NameArgument,
    scheme: Scheme | None = typer.Option(None, "--scheme"),
    key_variant: KeyVariant | None = KeyVariantOption,
    cipher: Cipher | None = CipherOption,
    mode: Mode | None = ModeOption,
    iv: str | None = IVOption,
    container: Container | None = ContainerOption,
    description: str = typer.Option("", "--description", help="What it is for, in one line."),
) -> None:
    """Add a profile of your own. What you leave out stays open, and the key or the request says it."""
    profile = DeviceProfile(scheme, key_variant, cipher, mode, initialisation_vector(iv), container)
    named = checked_profile(name, profile, description)

    async def store(pool: Pool, log: PostgresAuditLog) -> bool:
        profiles_of_own = PostgresDeviceProfiles(pool)
        if await profiles_of_own.find(name) is not None:
            return False
        await log.record(_change(named, "added"))
        return await profiles_of_own.add(named)

    if not with_audit_log(load_settings(), store):
        raise ConfigurationError(f"There is a profile {name} already.")
    console.print(f"Added {name}: {spoken(profile)}.")


@app.command()
def remove(name: str = NameArgument) -> None:
    """Remove a profile of your own. Refused while a device has it."""
    if name in BUILT_IN:
        raise ConfigurationError(f"{name} is built in.")

    async def end(pool: Pool, log: PostgresAuditLog) -> None:
        own = PostgresDeviceProfiles(pool)
        named = await own.find(name)
        if named is None:
            raise ConfigurationError(f"There is no profile {name}.")
        uses = await own.uses(name)
        if not uses:
            await log.record(_change(named, "removed"))
        if uses or not await own.remove(name):
            raise ConfigurationError(
                f"Devices that have the profile {name}: {uses or 'some'}. It stays until they are retired."
            )

    with_audit_log(load_settings(), end)
    console.print(f"Removed {name}.", markup=False)


def _change(named: NamedProfile, change: str) -> AuditEvent:
    return AuditEvent(
        EventKind.DEVICE_PROFILE_CHANGED,
        Outcome.DONE,
        this_operator(),
        details={"profile": named.name, "change": change, "fixes": spoken(named.profile)},
    )
