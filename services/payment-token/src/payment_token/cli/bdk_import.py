"""``payment-token bdk import``: the key ceremony, into a custodian that takes keys."""

from pathlib import Path

import typer

from payment_token.cli import bdk as bdks
from payment_token.cli.deployment import load_settings, operators_audit_log, with_custody
from payment_token.cli.key_block_file import bdk_from_key_block
from payment_token.cli.key_components import (
    KeyForm,
    check_dual_control,
    collect,
    combine,
    read_component,
)
from payment_token.cli.protection_key import ComponentsOption, KBPKFileOption
from payment_token.cli.terminal import console
from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.custody import check_imports
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings


def import_bdk(
    bdk_id: str = bdks.BDKIdOption,
    algorithm: BDKAlgorithm = bdks.AlgorithmOption,
    key: str | None = typer.Option(
        None,
        "--key",
        metavar="URI",
        help="Where it is to live: pkcs11:token=…;object=…, or local:NAME. Default: local:ID.",
    ),
    component: list[str] = typer.Option(
        [],
        "--component",
        metavar="HEX",
        help="One to three, XORed; development only: a command line is no secret.",
    ),
    component_file: list[Path] = typer.Option(
        [], "--component-file", help="A file that holds one component."
    ),
    key_block: Path | None = typer.Option(
        None,
        "--key-block",
        metavar="FILE",
        help="A file with a key block (ANSI X9.143, TR-31; version B or D) instead of components.",
    ),
    kbpk_file: list[Path] = KBPKFileOption,
    components: int = ComponentsOption,
    check_value: str | None = typer.Option(
        None, "--check-value", metavar="HEX", help="Refuse the key unless this is its check value."
    ),
    ksn_prefix: str | None = bdks.KSNPrefixOption,
    merchant: str | None = bdks.MerchantOption,
    profile: str | None = bdks.ProfileOption,
    allow_pin_variant: bool = bdks.PINVariantOption,
    replay: ReplayRule = bdks.ReplayOption,
) -> None:
    """Import a key from its components or from a key block, and register it.

    Components that no file gives are prompted for: those of the key, or with --key-block those of its protection key.
    """
    settings = load_settings()
    bdk = bdks.described_bdk(
        bdk_id,
        key or f"local:{bdk_id}",
        algorithm,
        ksn_prefix,
        merchant,
        profile,
        allow_pin_variant=allow_pin_variant,
        replay=replay,
    )
    check_imports(bdk.key_uri)
    if key_block is not None:
        if component or component_file:
            raise ConfigurationError(
                "--key-block brings the whole key: leave out --component and --component-file."
                " Components of its protection key go into --kbpk-file."
            )
        clear = bdk_from_key_block(settings, key_block, bdk, kbpk_file, components)
    else:
        if kbpk_file:
            raise ConfigurationError("--kbpk-file goes with --key-block.")
        clear = _from_components(settings, bdk, component, component_file, components)
    value = key_check_value(clear, algorithm)
    if check_value is not None and check_value.upper() != value:
        raise ConfigurationError(
            f"The check value of this key is {value}, not the one of --check-value. Nothing was imported."
        )
    _import(settings, bdk, clear, value)
    console.print(f"Imported {bdk_id} ({algorithm}), key check value {value}.")


def _from_components(
    settings: Settings, bdk: BaseDerivationKey, texts: list[str], files: list[Path], prompts: int
) -> SecretKey:
    if texts and not settings.in_development:
        raise ConfigurationError(
            "--component is taken in development only. Use the prompt or --component-file."
        )
    given = [SensitiveText(text) for text in texts]
    given += [read_component(path, "--component-file", settings) for path in files]
    check_dual_control(len(given) or prompts, bdk.key_uri)
    return combine(collect(KeyForm.of_bdk(bdk.algorithm), given, prompts))


def _import(settings: Settings, bdk: BaseDerivationKey, clear: SecretKey, value: str) -> None:
    async def add(pool: Pool, custodians: Custodians) -> None:
        await custodians.import_bdk(bdk, clear)
        try:
            await _check_same(custodians, bdk, value)
            async with operators_audit_log(settings, pool) as log:
                await bdks.store(PostgresDeviceDirectory(pool), log, bdk, value)
        except BaseException:
            # What is not registered must not stay behind, whatever the reason.
            await custodians.remove_bdk(bdk)
            raise

    with_custody(settings, add)


async def _check_same(custodians: Custodians, bdk: BaseDerivationKey, value: str) -> None:
    if await custodians.check_value(bdk) != value:
        raise ConfigurationError("The custodian computes another check value for the key.")
