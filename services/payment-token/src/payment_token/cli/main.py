"""``payment-token``: everything an operator or a developer does from a shell."""

import sys
from pathlib import Path
from typing import NoReturn

import typer

from payment_token.api.listening_socket import ListenError
from payment_token.cli import (
    api_keys,
    bdk,
    bdk_import,
    database,
    development,
    devices,
    devices_provision,
    doctor,
    key_rotation,
    keys,
    maintain,
    quickstart,
    reencrypt,
    serve,
    serve_many,
    serve_one_of_many,
    simulate,
)
from payment_token.cli.deployment import use_env_file
from payment_token.cli.terminal import report_error
from payment_token.domain.custody import CustodyError
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.domain.key_block import KeyBlockError
from payment_token.domain.key_life.version import KeyLifeError
from payment_token.domain.maintain import MaintenanceError
from payment_token.infrastructure.child_processes import ChildrenFailedError
from payment_token.infrastructure.database.embedded import EmbeddedServerError
from payment_token.settings import ConfigurationError

app = typer.Typer(
    name="payment-token",
    help="Turns encrypted card reads into payment tokens, and releases card data to authorised workers only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command(serve_many.COMMAND, hidden=True)(serve_one_of_many.serve_one_of_many)
app.command("maintain")(maintain.maintain)
app.add_typer(database.app, name="db")
app.add_typer(development.app, name="dev")
bdk.app.command("import")(bdk_import.import_bdk)
app.add_typer(bdk.app, name="bdk")
keys.app.command("make-kek")(key_rotation.make_kek)
keys.app.command("rotate")(key_rotation.rotate)
keys.app.command("reencrypt")(reencrypt.reencrypt)
keys.app.command("retire")(key_rotation.retire)
keys.app.command("destroy")(key_rotation.destroy)
keys.app.command("replace-lost-signing-key")(key_rotation.replace_lost_signing_key)
app.add_typer(keys.app, name="keys")
devices.app.command("provision")(devices_provision.provision)
app.add_typer(devices.app, name="devices")
app.add_typer(api_keys.app, name="api-keys")
app.add_typer(simulate.app, name="simulate")
app.command("doctor")(doctor.doctor)
app.command("quickstart")(quickstart.quickstart)


@app.callback()
def options(
    env_file: Path | None = typer.Option(
        None,
        "--env-file",
        metavar="FILE",
        help="Configuration file; taken before and after any subcommand. Default: ./.env, else .dev/.env of the service.",
    ),
) -> None:
    # ``main`` has taken the option out of the arguments, wherever it stood; here it is for --help.
    del env_file


def main(arguments: list[str] | None = None) -> None:
    try:
        rest, env_file = _without_env_file(sys.argv[1:] if arguments is None else arguments)
        use_env_file(env_file)
        app(args=rest)
    except KeyCustodianRefusedError as error:
        _fail(error.advice)
    except (
        ChildrenFailedError,
        ConfigurationError,
        CustodyError,
        EmbeddedServerError,
        KeyBlockError,
        KeyLifeError,
        ListenError,
        MaintenanceError,
        PaymentTokenError,
    ) as error:
        _fail(str(error))


def _fail(reason: str) -> NoReturn:
    report_error(reason)
    sys.exit(1)


def _without_env_file(arguments: list[str]) -> tuple[list[str], Path | None]:
    rest: list[str] = []
    env_file = None
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--env-file":
            value = next(remaining, None)
            if value is None:
                raise ConfigurationError("--env-file needs a file.")
            env_file = Path(value)
        elif argument.startswith("--env-file="):
            env_file = Path(argument.partition("=")[2])
        else:
            rest.append(argument)
    return rest, env_file
