"""``payment-token devices provision``: the key of one terminal for its injection, as a key block and never in clear.

For fleets that we provision, which for some custodians are the only ones (AWS KMS). The terminal is registered in the
same step, so that no two terminals are ever given the same key, and every key that left is on record.
"""

from dataclasses import dataclass
from pathlib import Path

import typer

from payment_token.cli.bdk import usable_bdk
from payment_token.cli.deployment import (
    load_settings,
    operators_audit_log,
    with_custody,
    with_pool,
)
from payment_token.cli.device_changes import changes_of
from payment_token.cli.protection_key import (
    ComponentsOption,
    KBPKAlgorithm,
    KBPKFileOption,
    enter_protection_key,
)
from payment_token.cli.terminal import console
from payment_token.cli.terminal_key_name import given_before, key_name
from payment_token.domain.change_devices import ChangeDevices, Registered
from payment_token.domain.custody import check_gives_initial_keys
from payment_token.domain.device_aead import MOST_KEY_EPOCH, AEADKeyName
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import Registration, checked_device, checked_merchant
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Device, DeviceState
from payment_token.domain.errors import DeviceExistsError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.key_block import KeyBlockVersion
from payment_token.domain.key_block.provisioned_key import (
    check_kbpk,
    provisioned_check_value,
    provisioned_key_block,
)
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import ConfigurationError, Settings


@dataclass(frozen=True, slots=True)
class Terminal:
    """``known`` is its registration, if it has one. ``name`` names the key that it is to get."""

    device_id: DeviceId
    merchant_id: MerchantId
    bdk: BaseDerivationKey
    name: KSN | AEADKeyName
    known: Device | None


@dataclass(frozen=True, slots=True)
class ProtectionKey:
    version: KeyBlockVersion
    key: SecretKey
    check_value: str


def provision(
    device_id: str = typer.Option(..., "--device-id"),
    merchant: str = typer.Option(..., "--merchant"),
    bdk: str = typer.Option(..., "--bdk", help="The id of the key that its key is derived from."),
    ksn: str | None = typer.Option(
        None,
        "--ksn",
        metavar="HEX",
        help="Its KSN, with the counter at zero. Default: a new one, within the prefix of the key.",
    ),
    key_epoch: int | None = typer.Option(
        None,
        "--key-epoch",
        min=0,
        max=MOST_KEY_EPOCH,
        help="For device-aead: one that the terminal has not had.",
    ),
    kbpk_file: list[Path] = KBPKFileOption,
    components: int = ComponentsOption,
    kbpk_algorithm: KBPKAlgorithm = typer.Option(
        KBPKAlgorithm.AES,
        "--kbpk-algorithm",
        help="Of the protection key: aes makes a block of version D, tdes of version B.",
    ),
    kbpk_check_value: str | None = typer.Option(
        None,
        "--kbpk-check-value",
        metavar="HEX",
        help="Refuse the protection key unless this is its check value.",
    ),
    output: Path | None = typer.Option(
        None, "--output", metavar="FILE", help="A new file for the key block. Default: it is shown."
    ),
) -> None:
    """Derive the key of a terminal, register the terminal, and give the key as a key block for its injection.

    The block (ANSI X9.143, TR-31) is under a protection key that the key-injection facility has too.
    """
    settings = load_settings()
    device, owner = checked_device(device_id), checked_merchant(merchant)
    if output is not None:
        _check_new(output)

    async def look(pool: Pool) -> Terminal:
        directory = PostgresDeviceDirectory(pool)
        known_bdk = await usable_bdk(directory, bdk, owner)
        check_gives_initial_keys(known_bdk)
        known = await directory.find_device(owner, device)
        _check_device(known, known_bdk)
        name = await key_name(directory, known_bdk, device, owner, ksn, key_epoch)
        return Terminal(device, owner, known_bdk, name, known)

    terminal = with_pool(settings, look)
    kbpk = _protection_key(
        settings, terminal.bdk, kbpk_algorithm, kbpk_file, components, kbpk_check_value
    )
    block, value = _provisioned(settings, terminal, kbpk)
    if output is not None:
        _write(output, block)
    _show(terminal, kbpk, block, value, output)


def _protection_key(
    settings: Settings,
    bdk: BaseDerivationKey,
    algorithm: KBPKAlgorithm,
    files: list[Path],
    prompts: int,
    announced: str | None,
) -> ProtectionKey:
    kbpk, value = enter_protection_key(settings, algorithm.version, files, prompts, bdk.key_uri)
    if announced is not None and announced.upper() != value:
        raise ConfigurationError(
            f"The protection key has the check value {value}, not the one of --kbpk-check-value."
            " Nothing was provisioned."
        )
    check_kbpk(kbpk, algorithm.version, bdk.algorithm)
    return ProtectionKey(algorithm.version, kbpk, value)


def _check_device(known: Device | None, bdk: BaseDerivationKey) -> None:
    if known is None:
        return
    if not known.state.may_send:
        raise ConfigurationError(f"{known.device_id} is {known.state}: it gets no new key.")
    if known.bdk_id != bdk.bdk_id:
        raise ConfigurationError(
            f"{known.device_id} is registered under {known.bdk_id or 'no key'}, not {bdk.bdk_id}."
        )


def _provisioned(settings: Settings, terminal: Terminal, kbpk: ProtectionKey) -> tuple[str, str]:
    """The key block and the check value of the key in it."""
    algorithm = terminal.bdk.algorithm

    async def derive(pool: Pool, custodians: Custodians) -> tuple[str, str]:
        key = await _derived(custodians, terminal)
        block = provisioned_key_block(kbpk.key, kbpk.version, algorithm, terminal.name, key)
        # A key of a terminal that is not on record must not leave: first this, then the block.
        async with operators_audit_log(settings, pool) as log:
            await _register(changes_of(pool, log), terminal)
        return block, provisioned_check_value(key, algorithm)

    return with_custody(settings, derive)


async def _derived(custodians: Custodians, terminal: Terminal) -> SecretKey:
    if isinstance(terminal.name, AEADKeyName):
        return await custodians.device_key(terminal.bdk, terminal.name)
    return await custodians.initial_key(terminal.bdk, terminal.name)


async def _register(changes: ChangeDevices, terminal: Terminal) -> None:
    initial_key_id = terminal.name.initial_key_id
    taken = False
    try:
        if terminal.known is not None:
            await changes.add_initial_key(terminal.merchant_id, terminal.device_id, initial_key_id)
            return
        registered = await changes.register(_registration(terminal, initial_key_id))
        taken = registered is not Registered.NEW
    except DeviceExistsError:
        taken = True
    if taken:
        raise given_before()


def _registration(terminal: Terminal, initial_key_id: bytes) -> Registration:
    return Registration(
        Device(
            merchant_id=terminal.merchant_id,
            device_id=terminal.device_id,
            bdk_id=terminal.bdk.bdk_id,
            state=DeviceState.REGISTERED,
            profile=DeviceProfile(terminal.bdk.algorithm.scheme),
            initial_key_ids=frozenset((initial_key_id,)),
        )
    )


def _check_new(output: Path) -> None:
    if output.exists() or not output.parent.is_dir():
        raise ConfigurationError(f"--output: {output} must be a new file in a folder that exists.")


def _write(path: Path, block: str) -> None:
    written = False
    try:
        write_private_file(path, block + "\n")
        written = True
    except OSError:
        pass
    if not written:
        raise ConfigurationError(
            f"--output: {path} cannot be written. The terminal is registered, and its key is lost:"
            " provision it again, with another --ksn or --key-epoch."
        )


def _show(
    terminal: Terminal, kbpk: ProtectionKey, block: str, value: str, output: Path | None
) -> None:
    name = terminal.name
    key = f"key epoch {name.key_epoch}" if isinstance(name, AEADKeyName) else f"KSN {name}"
    for line in (
        f"Provisioned {terminal.device_id} of {terminal.merchant_id} under {terminal.bdk.bdk_id}: {key}.",
        f"Key check value {value}, protection key check value {kbpk.check_value}.",
        f"Key block: {block if output is None else output}",
        "The terminal is registered. Have the block injected; then it may send, without any further command.",
    ):
        console.print(line, markup=False)
