"""``payment-token keys rotate``, ``retire`` and ``destroy``: the life of a version, step by step."""

import json
from base64 import b64encode

import typer

from payment_token.bootstrap.key_life import KeyLife
from payment_token.cli.deployment import load_settings, with_custody, with_key_life
from payment_token.cli.terminal import console, report_error
from payment_token.domain.custody import (
    CAPABILITIES,
    LOCAL_SCHEME,
    Custodian,
    check_kek,
    custodian_of,
)
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.domain.key_life.cryptoperiod import Standing
from payment_token.domain.key_life.destroy_key import Destruction
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose, KeyState, KeyVersion
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.pkcs11_uri import PKCS11URI
from payment_token.infrastructure.database.pool import Pool
from payment_token.settings import ConfigurationError, Settings

PurposeOption = typer.Option(KeyPurpose.SERVICE, "--purpose")
VersionArgument = typer.Argument(..., metavar="VERSION", help="For example v1.")


def rotate(
    purpose: KeyPurpose | None = typer.Option(
        None, "--purpose", help="Which key. Default: service; with --if-due every key that is due."
    ),
    kek: str | None = typer.Option(
        None,
        "--kek",
        metavar="URI",
        help="The KEK of the new version. Default: a new one, made where the KEK of the active version lives.",
    ),
    if_due: bool = typer.Option(
        False, "--if-due", help="Do nothing when the key is not due yet: for cron."
    ),
) -> None:
    """Make a new version and let it take over, once every running process has it. Nothing restarts, nothing fails."""
    settings = load_settings()
    if kek is not None:
        _check_new_kek(settings, kek)

    async def run(life: KeyLife) -> list[KeyPurpose]:
        wanted = [purpose or KeyPurpose.SERVICE]
        if if_due:
            wanted = await _due(life, [purpose] if purpose else list(KeyPurpose))
        if kek is not None and len(wanted) > 1:
            raise ConfigurationError(
                "--kek: several keys are due, and each needs a KEK of its own."
            )
        if not wanted:
            console.print("No key is due.")
        return [each for each in wanted if not await _rotated(life, each, kek)]

    if with_key_life(settings, run):
        raise typer.Exit(1)


def replace_lost_signing_key(
    kek: str = typer.Option(
        ..., "--kek", metavar="URI", help="The KEK of the new version, which exists."
    ),
) -> None:
    """Replace the audit signing key when its KEK is lost for good. The history shows the break."""
    settings = load_settings()
    _check_new_kek(settings, kek)

    async def run(life: KeyLife) -> KeyVersion:
        return await life.replace_lost_signing_key(kek)

    new = with_key_life(settings, run)
    console.print(f"The audit signing key {new.version} is active, under {new.kek_uri}.")


def make_kek(
    key: str = typer.Argument(
        ..., metavar="URI", help="The name it is to have: pkcs11:token=…;object=…, or local:NAME."
    ),
) -> None:
    """Make a KEK, for a new deployment or for `keys rotate --kek`. AWS KMS names its keys itself: make one there."""
    settings = load_settings()
    _check_new_kek(settings, key)
    name = _kek_name(key)

    async def run(_: Pool, custodians: Custodians) -> str:
        return await custodians.make_kek(key, name)

    made = with_custody(settings, run)
    console.print(f"Made {made}. A new deployment names it as SERVICE_KMS_KEY_ID.")


def retire(version: str = VersionArgument, purpose: KeyPurpose = PurposeOption) -> None:
    """End the use of a version that nothing is under any more. Refused while records remain, which are counted."""

    async def run(life: KeyLife) -> None:
        await life.retire(purpose, version)

    with_key_life(load_settings(), run)
    console.print(
        f"Retired the {purpose} key {version}: 0 records are under it, and no process may use it."
        f" Next: payment-token keys destroy {version}"
        + ("" if purpose is KeyPurpose.SERVICE else f" --purpose {purpose}")
    )


def destroy(
    version: str = VersionArgument,
    purpose: KeyPurpose = PurposeOption,
    waiting_days: int = typer.Option(
        7,
        "--waiting-days",
        min=7,
        max=30,
        help="AWS KMS only: how long the deletion can be undone.",
    ),
    confirm: str | None = typer.Option(
        None,
        "--confirm",
        metavar="VERSION",
        help="For scripts: the version once more, instead of being asked.",
    ),
) -> None:
    """Destroy a retired version and its KEK, so that no copy in any backup opens any more. Asks twice."""
    settings = load_settings()
    _ask_twice(version, purpose, confirm)

    async def run(life: KeyLife) -> Destruction:
        return await life.destroy(purpose, version, waiting_days=waiting_days)

    done = with_key_life(settings, run)
    if done.kept_for is not None:
        console.print(
            f"Dropped the {purpose} key {version}. Its KEK stays, because {done.kept_for} needs it: copies of {version} in"
            " old backups open until that KEK goes. The signed statement:"
        )
    elif done.due_at is None:
        console.print(f"Destroyed the {purpose} key {version}. The signed statement:")
    else:
        console.print(
            f"The custodian destroys the KEK of {version} on {done.due_at:%Y-%m-%d %H:%M %Z}; until then it could be"
            " brought back there, and old backups opened with it. Give this command again after that for the statement"
            " of completion. The signed statement so far:"
        )
    console.print_json(json.dumps(_as_json(done)))


async def _rotated(life: KeyLife, purpose: KeyPurpose, kek: str | None) -> bool:
    """Says what came of it. One that fails must not keep the others from their rotation."""
    try:
        done = await life.rotate(purpose, kek_uri=kek)
    except KeyCustodianRefusedError as error:
        report_error(error.advice)
        return False
    except (KeyLifeError, PaymentTokenError) as error:
        report_error(str(error))
        return False
    console.print(f"The {purpose} key {done.new.version} is active, under {done.new.kek_uri}.")
    if purpose is KeyPurpose.SERVICE and done.old.state.opens:
        console.print(
            f"Records under {done.old.version} still open. Next: payment-token keys reencrypt"
        )
    return True


async def _due(life: KeyLife, purposes: list[KeyPurpose]) -> list[KeyPurpose]:
    return [
        version.purpose
        for version in await life.keys.versions.all()
        if version.purpose in purposes
        and version.state is KeyState.ACTIVE
        and version.activated_at is not None
        and life.keys.cryptoperiod.standing(version.activated_at, life.keys.clock.now())
        in (Standing.DUE, Standing.CLOSED)
    ]


def _kek_name(key_uri: str) -> str:
    """The name of a KEK within its custodian. Raises ConfigurationError for one that names its keys itself."""
    custodian = custodian_of(key_uri)
    if custodian is Custodian.PKCS11:
        return PKCS11URI.parse(key_uri).label
    if custodian is Custodian.LOCAL:
        return key_uri.removeprefix(LOCAL_SCHEME)
    raise ConfigurationError(
        f"{custodian} names its keys itself: make a symmetric key with its own tools, and name it by its ARN."
    )


def _check_new_kek(settings: Settings, kek: str) -> None:
    check_kek(kek)
    if settings.in_production and not CAPABILITIES[custodian_of(kek)].in_production:
        raise ConfigurationError("--kek: names a key of the development keystore.")


def _ask_twice(version: str, purpose: KeyPurpose, confirmed: str | None) -> None:
    if confirmed is not None:
        if confirmed != version:
            raise ConfigurationError(f"--confirm: say {version} once more, or be asked.")
        return
    typer.confirm(
        f"This destroys the {purpose} key {version} and its KEK. Backups that hold records under it can never be opened"
        " again. Go on?",
        abort=True,
    )
    if typer.prompt(f"There is no way back. Type {version} to destroy it") != version:
        raise ConfigurationError(f"That was not {version}. Nothing was destroyed.")


def _as_json(done: Destruction) -> dict[str, object]:
    return {
        "statement": json.loads(done.statement.statement),
        "signing_key": done.statement.signing_key,
        "signature": b64encode(done.statement.signature).decode(),
    }
