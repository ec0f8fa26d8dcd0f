"""``payment-token bdk``: base derivation keys of the development keystore."""

import re
from pathlib import Path

import typer
from rich.table import Table

from payment_token.bootstrap import open_keystore
from payment_token.cli.deployment import directory_of, load_settings, with_pool
from payment_token.cli.key_components import MOST_COMPONENTS, combine
from payment_token.cli.terminal import console, listing
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.identifiers import BDK_ID
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.database.device_directory import AlreadyRegisteredError
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

app = typer.Typer(help="Base derivation keys.", no_args_is_help=True)

_PREFIX = re.compile(r"[0-9A-F]{1,24}")


@app.command("import")
def import_bdk(
    bdk_id: str = typer.Option(..., "--id", help="What you call it; devices refer to it."),
    algorithm: BDKAlgorithm = typer.Option(..., "--algorithm"),
    component: list[str] = typer.Option(
        [],
        "--component",
        metavar="HEX",
        help="One to three, XORed; development only: a command line is no secret.",
    ),
    component_file: list[Path] = typer.Option(
        [], "--component-file", help="A file that holds one component."
    ),
    components: int = typer.Option(
        1, "--components", min=1, max=MOST_COMPONENTS, help="How many to prompt for."
    ),
    ksn_prefix: str | None = typer.Option(
        None,
        "--ksn-prefix",
        metavar="HEX",
        help="Terminals whose KSN starts so use this key without registration.",
    ),
    allow_pin_variant: bool = typer.Option(
        False,
        "--allow-pin-variant",
        help="For MagTek swipe readers, which encrypt tracks under the PIN variant.",
    ),
) -> None:
    """Import a key into the development keystore, from its components. Without any given, they are prompted for."""
    settings = load_settings()
    if component and not settings.in_development:
        raise ConfigurationError(
            "--component is taken in development only. Use the prompt or --component-file."
        )
    given = [SensitiveText(text) for text in component] + [_read(path) for path in component_file]
    if not given:
        given = [
            SensitiveText(typer.prompt(f"Component {number} of {components}", hide_input=True))
            for number in range(1, components + 1)
        ]
    key = combine(given, algorithm)
    bdk = BaseDerivationKey(
        bdk_id=_checked_id(bdk_id),
        key_uri=f"local:{bdk_id}",
        algorithm=algorithm,
        ksn_prefix=_checked_prefix(ksn_prefix),
        allow_pin_variant=allow_pin_variant,
    )
    value = key_check_value(key, algorithm)
    keystore = open_keystore(settings)
    keystore.import_key(bdk_id, algorithm, key)
    try:
        register(settings, bdk, value)
    except ConfigurationError:
        keystore.remove_key(bdk_id)
        raise
    console.print(f"Imported {bdk_id} ({algorithm}), key check value {value}.")


@app.command("list")
def list_bdks() -> None:
    """List the keys by name and check value."""
    settings = load_settings()

    async def read(pool: Pool) -> Table:
        table = listing(
            "id", "algorithm", "key", "check value", "KSN prefix", "PIN variant", "default"
        )
        for bdk, value in await directory_of(settings, pool).list_bdks():
            table.add_row(
                bdk.bdk_id,
                bdk.algorithm,
                bdk.key_uri,
                value,
                bdk.ksn_prefix or "",
                "allowed" if bdk.allow_pin_variant else "",
                "yes" if bdk.is_default else "",
            )
        return table

    console.print(with_pool(settings, read))


def register(settings: Settings, bdk: BaseDerivationKey, value: str) -> None:
    async def add(pool: Pool) -> None:
        await directory_of(settings, pool).register_bdk(bdk, value)

    try:
        with_pool(settings, add)
    except AlreadyRegisteredError:
        raise ConfigurationError(
            f"There is a key of the id {bdk.bdk_id}, or of the same KSN prefix, already."
        ) from None


def _read(path: Path) -> SensitiveText:
    try:
        return SensitiveText(path.read_text())
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"--component-file: {path} cannot be read.") from None


def _checked_id(bdk_id: str) -> str:
    if not BDK_ID.fullmatch(bdk_id):
        raise ConfigurationError("--id: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit.")
    return bdk_id


def _checked_prefix(prefix: str | None) -> str | None:
    if prefix is not None and not _PREFIX.fullmatch(prefix.upper()):
        raise ConfigurationError(
            "--ksn-prefix: 1 to 24 hexadecimal digits; TDES KSNs are 20 digits, AES ones 24."
        )
    return None if prefix is None else prefix.upper()
