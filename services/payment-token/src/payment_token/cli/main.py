"""``payment-token``: everything an operator or a developer does from a shell."""

import sys
from pathlib import Path
from typing import NoReturn

import typer

from payment_token.cli.commands import CommandsByName, announce
from payment_token.cli.env_file import use_env_file, without_env_file
from payment_token.cli.terminal import report_error
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.domain.operator_error import OperatorError

app = typer.Typer(
    name="payment-token",
    help="Turns encrypted card reads into payment tokens, and releases card data to authorised workers only.",
    cls=CommandsByName,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
announce(app)


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
        rest, env_file = without_env_file(sys.argv[1:] if arguments is None else arguments)
        use_env_file(env_file)
        app(args=rest)
    except KeyCustodianRefusedError as error:
        _fail(error.advice)
    except (OperatorError, PaymentTokenError) as error:
        _fail(str(error))


def _fail(reason: str) -> NoReturn:
    report_error(reason)
    sys.exit(1)
