"""``payment-token bdk``: base derivation keys, by name. The keys themselves are in their custodians."""

import re

import typer
from rich.table import Table

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.deployment import (
    load_settings,
    operators_audit_log,
    with_audit_log,
    with_custody,
    with_pool,
)
from payment_token.cli.free_text import checked_text
from payment_token.cli.profile_options import chosen_profile, spoken
from payment_token.cli.terminal import console, listing
from payment_token.domain.audit import AuditEvent, EventKind, Outcome
from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.custody import check_bdk
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.identifiers import BDK_ID, MERCHANT_ID, MerchantId
from payment_token.domain.ports import AuditLog
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.device_directory import (
    AlreadyRegisteredError,
    PostgresDeviceDirectory,
    RegisteredBDK,
)
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError

app = typer.Typer(help="Base derivation keys.", no_args_is_help=True)

_BECOMES = {
    ReplayRule.REJECT: "rejected",
    ReplayRule.FLAG: "accepted, and flagged as an event",
    ReplayRule.OFF: "accepted",
}
_PREFIX = re.compile(r"[0-9A-F]{1,24}")

BDKIdOption = typer.Option(..., "--id", help="What you call it; devices refer to it.")
AlgorithmOption = typer.Option(..., "--algorithm")
KSNPrefixOption = typer.Option(
    None,
    "--ksn-prefix",
    metavar="HEX",
    help="Terminals whose KSN starts so use this key without naming it.",
)
MerchantOption = typer.Option(
    None, "--merchant", help="It serves the terminals of this merchant only."
)
ProfileOption = typer.Option(
    None,
    "--profile",
    metavar="NAME",
    help="How its terminals encrypt: a profile of `devices profiles`, or pairs such as cipher=aes-128,mode=cbc of"
    " key-variant, cipher, mode, iv, container.",
)
PINVariantOption = typer.Option(
    False,
    "--allow-pin-variant",
    help="For MagTek swipe readers, which encrypt tracks under the PIN variant.",
)
ReplayOption = typer.Option(
    ReplayRule.REJECT,
    "--replay",
    help="What becomes of a read whose KSN was used before: reject it, flag it as an event, or off.",
)


@app.command("register")
def register(
    bdk_id: str = BDKIdOption,
    key: str = typer.Option(
        ..., "--key", metavar="URI", help="Where it lives: arn:aws:…, pkcs11:token=…;object=…"
    ),
    algorithm: BDKAlgorithm = AlgorithmOption,
    ksn_prefix: str | None = KSNPrefixOption,
    merchant: str | None = MerchantOption,
    profile: str | None = ProfileOption,
    allow_pin_variant: bool = PINVariantOption,
    replay: ReplayRule = ReplayOption,
) -> None:
    """Name a key that lives in a custodian. It is used once, for its check value, so a wrong name is refused now."""
    bdk = described_bdk(
        bdk_id,
        key,
        algorithm,
        ksn_prefix,
        merchant,
        profile,
        allow_pin_variant=allow_pin_variant,
        replay=replay,
    )
    settings = load_settings()

    async def add(pool: Pool, custodians: Custodians) -> str:
        value = await custodians.check_value(bdk)
        async with operators_audit_log(settings, pool) as log:
            await store(PostgresDeviceDirectory(pool), log, bdk, value)
        return value

    value = with_custody(settings, add)
    console.print(f"Registered {bdk_id} ({algorithm}), key check value {value}.")


@app.command("list")
def list_bdks() -> None:
    """List the keys by name and check value."""
    settings = load_settings()

    async def read(pool: Pool) -> Table:
        table = listing(
            "id", "algorithm", "key", "check value", "KSN prefix", "merchant", "profile", "state"
        )
        for known in await PostgresDeviceDirectory(pool).list_bdks():
            table.add_row(
                known.bdk.bdk_id,
                known.bdk.algorithm,
                known.bdk.key_uri,
                known.key_check_value,
                known.bdk.ksn_prefix or "",
                known.bdk.merchant_id or "any",
                _profile(known.bdk),
                _state(known),
            )
        return table

    console.print(with_pool(settings, read))


@app.command("show")
def show(bdk_id: str = typer.Argument(..., metavar="ID")) -> None:
    """Show one key, and ask its custodian whether it is still the same."""
    settings = load_settings()

    async def read(pool: Pool, custodians: Custodians) -> tuple[RegisteredBDK, str]:
        known = await PostgresDeviceDirectory(pool).find_bdk(bdk_id)
        if known is None:
            raise _no_such(bdk_id)
        return known, await custodians.check_value(known.bdk)

    known, value = with_custody(settings, read)
    table = listing("", "")
    for name, text in _described(known):
        table.add_row(name, text)
    same = value == known.key_check_value
    table.add_row("custodian", "has it" if same else f"has another key: check value {value}")
    console.print(table)
    if not same:
        raise typer.Exit(1)


@app.command("replay")
def change_replay_rule(
    bdk_id: str = typer.Argument(..., metavar="ID"),
    rule: ReplayRule = typer.Argument(..., help=ReplayOption.help),
) -> None:
    """Change what becomes of reads whose KSN was used before. Counters are kept under every rule."""
    settings = load_settings()

    async def change(pool: Pool, log: PostgresAuditLog) -> None:
        directory = PostgresDeviceDirectory(pool)
        known = await directory.find_bdk(bdk_id)
        if known is None:
            raise _no_such(bdk_id)
        await log.record(_change(known.bdk, "replay rule", replay_rule=rule))
        await directory.set_replay_rule(bdk_id, rule)

    with_audit_log(settings, change)
    console.print(f"Reads of {bdk_id} whose KSN was used before: {_BECOMES[rule]}.")


@app.command("retire")
def retire(bdk_id: str = typer.Argument(..., metavar="ID")) -> None:
    """End the use of a key here: its terminals are refused from now on. The custodian keeps the key."""
    settings = load_settings()

    async def end(pool: Pool, log: PostgresAuditLog) -> bool:
        directory = PostgresDeviceDirectory(pool)
        known = await directory.find_bdk(bdk_id)
        if known is None or known.retired_at is not None:
            return False
        await log.record(_change(known.bdk, "retired"))
        return await directory.retire_bdk(bdk_id)

    if not with_audit_log(settings, end):
        raise ConfigurationError(f"There is no key {bdk_id} that still serves.")
    console.print(
        f"Retired {bdk_id}: its terminals are refused from now on. The key is still with its custodian."
    )


def described_bdk(
    bdk_id: str,
    key_uri: str,
    algorithm: BDKAlgorithm,
    ksn_prefix: str | None,
    merchant: str | None,
    profile: str | None,
    *,
    allow_pin_variant: bool,
    replay: ReplayRule,
) -> BaseDerivationKey:
    """Raises ConfigurationError for options that are malformed, CustodyError for what the custodian cannot do."""
    checked_text("--id", bdk_id)
    if not BDK_ID.fullmatch(bdk_id):
        raise ConfigurationError("--id: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit.")
    if ksn_prefix is not None and not _PREFIX.fullmatch(ksn_prefix.upper()):
        raise ConfigurationError(
            "--ksn-prefix: 1 to 24 hexadecimal digits; TDES KSNs are 20 digits, AES ones 24."
        )
    if merchant is not None and not MERCHANT_ID.fullmatch(merchant):
        raise ConfigurationError("--merchant: letters, digits, . _ : -")
    bdk = BaseDerivationKey(
        bdk_id=bdk_id,
        key_uri=key_uri,
        algorithm=algorithm,
        ksn_prefix=None if ksn_prefix is None else ksn_prefix.upper(),
        allow_pin_variant=allow_pin_variant,
        profile=chosen_profile(load_settings, profile),
        merchant_id=None if merchant is None else MerchantId(merchant),
        replay_rule=replay,
    )
    check_bdk(bdk)
    return bdk


async def store(
    directory: PostgresDeviceDirectory, log: AuditLog, bdk: BaseDerivationKey, value: str
) -> None:
    """Raises ConfigurationError when something of it is taken."""
    await log.record(_change(bdk, "registered", key_check_value=value))
    taken = False
    try:
        await directory.register_bdk(bdk, value)
    except AlreadyRegisteredError:
        taken = True
    if taken:
        raise ConfigurationError(
            f"There is a key of the id {bdk.bdk_id}, or of the same KSN prefix, already,"
            f" or {bdk.key_uri} serves another algorithm."
        )


def _change(bdk: BaseDerivationKey, change: str, **details: str) -> AuditEvent:
    return AuditEvent(
        EventKind.KEY_CHANGED,
        Outcome.DONE,
        this_operator(),
        key_name=bdk.bdk_id,
        details={"key": "bdk", "change": change, "key_uri": bdk.key_uri, **details},
    )


async def usable_bdk(
    directory: PostgresDeviceDirectory, bdk_id: str, merchant_id: MerchantId
) -> BaseDerivationKey:
    """The key of that id. Raises ConfigurationError when it does not serve this merchant."""
    known = await directory.find_bdk(bdk_id)
    if known is None:
        raise _no_such(bdk_id)
    if known.retired_at is not None:
        raise ConfigurationError(f"The key {bdk_id} is retired.")
    if known.bdk.merchant_id not in (None, merchant_id):
        raise ConfigurationError(f"The key {bdk_id} serves another merchant.")
    return known.bdk


def _no_such(bdk_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no key of the id {bdk_id}. `payment-token bdk list` shows them."
    )


def _state(known: RegisteredBDK) -> str:
    if known.retired_at is not None:
        return "retired"
    return "default" if known.bdk.is_default else "serves"


def _profile(bdk: BaseDerivationKey) -> str:
    allowed = "PIN variant allowed" if bdk.allow_pin_variant else ""
    return ", ".join(filter(None, (spoken(bdk.profile), allowed)))


def _described(known: RegisteredBDK) -> list[tuple[str, str]]:
    bdk = known.bdk
    return [
        ("id", bdk.bdk_id),
        ("algorithm", bdk.algorithm),
        ("key", bdk.key_uri),
        ("check value", known.key_check_value),
        ("KSN prefix", bdk.ksn_prefix or "none"),
        ("merchant", bdk.merchant_id or "any"),
        ("profile", _profile(bdk) or "none"),
        ("repeated KSNs", _BECOMES[bdk.replay_rule]),
        ("registered", f"{known.created_at:%Y-%m-%d %H:%M %Z}"),
        ("state", _state(known)),
    ]
