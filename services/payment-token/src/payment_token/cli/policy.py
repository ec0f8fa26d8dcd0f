"""``payment-token policy``: the group, and ``check``, which answers one question and says what decided."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import typer
from rich.markup import escape

from payment_token.api.worker_certificate import WorkerCertificates
from payment_token.cli.deployment import load_settings
from payment_token.cli.terminal import console, report_error
from payment_token.domain.identifiers import MERCHANT_ID, PURPOSE, MerchantId
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.worker_policy import (
    Asked,
    GrantPart,
    Operation,
    ReleaseField,
    WorkerGrant,
    WorkerPolicy,
)
from payment_token.infrastructure.worker_policy_file import WorkerPolicyFile

DENIED = 1
NOT_ANSWERED = 2

FILE_HELP = "The policy file. Default: the deployment's WORKER_POLICY_FILE."

app = typer.Typer(
    help="The worker policy: ask it, and test it, before a service reads it.", no_args_is_help=True
)


@app.command()
def check(
    merchant: str = typer.Option(..., "--merchant"),
    identity: str = typer.Option(
        "", "--identity", help="URI SAN of its certificate, else DNS SAN."
    ),
    certificate: Path | None = typer.Option(
        None, "--certificate", help="The worker's certificate (PEM), in place of --identity."
    ),
    purpose: str | None = typer.Option(None, "--purpose", help="Of a decrypt: required."),
    fields: str = typer.Option("pan,expiry", "--fields", help="Of a decrypt, with commas between."),
    operation: Operation = typer.Option(Operation.DECRYPT, "--operation"),
    file: Path | None = typer.Option(None, "--file", help=FILE_HELP),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> None:
    """Say whether a worker may do that, and what decides it. Exit 0 allowed, 1 denied, 2 not answered."""
    with not_answered():
        asked = _asked(merchant, operation, purpose, fields)
        policy = read_policy(file)
        name = _identity(identity, certificate)
    grant = policy.grants.get(name)
    lacking = [] if grant is None else list(grant.lacking(asked))
    allowed = policy.allows(name, asked)
    if as_json:
        console.print_json(
            json.dumps(
                {
                    "allowed": allowed,
                    "identity": name,
                    "known": grant is not None,
                    "lacking": lacking,
                    "budget": grant and grant.budget and asdict(grant.budget),
                    "rate": grant and grant.rate and asdict(grant.rate),
                }
            )
        )
    else:
        _show(name, grant, lacking)
    if not allowed:
        raise typer.Exit(DENIED)


def read_policy(file: Path | None) -> WorkerPolicy:
    """Raises OperatorError."""
    path = file or load_settings().worker_policy_file
    if path is None:
        raise OperatorError("which policy? Give --file, or set WORKER_POLICY_FILE.")
    return WorkerPolicyFile(path).current()


@contextmanager
def not_answered() -> Iterator[None]:
    """Whatever keeps a command from asking the policy is exit 2, so that nobody takes it for an answer."""
    try:
        yield
    except OperatorError as error:
        reason = str(error)
    else:
        return
    report_error(reason)
    raise typer.Exit(NOT_ANSWERED)


def explained(part: GrantPart, grant: WorkerGrant) -> str:
    granted = {
        GrantPart.OPERATIONS: grant.operations,
        GrantPart.MERCHANTS: grant.merchants,
        GrantPart.PURPOSES: grant.purposes,
        GrantPart.FIELDS: grant.fields,
    }[part]
    return f"{part}: its grant has {', '.join(sorted(granted)) or 'none'}"


def _asked(merchant: str, operation: Operation, purpose: str | None, fields: str) -> Asked:
    if not MERCHANT_ID.fullmatch(merchant):
        raise OperatorError("--merchant: that cannot be a merchant id.")
    if operation is not Operation.DECRYPT:
        return Asked(MerchantId(merchant), operation)
    if purpose is None or not PURPOSE.fullmatch(purpose):
        raise OperatorError("--purpose: a decrypt has one, of 1 to 64 of a-z 0-9 _ -.")
    try:
        wanted = frozenset(ReleaseField(name.strip()) for name in fields.split(","))
    except ValueError:
        wanted = frozenset()
    if not wanted:
        raise OperatorError(f"--fields: of {', '.join(ReleaseField)}, with commas between.")
    return Asked(MerchantId(merchant), operation, purpose, wanted)


def _identity(given: str, certificate: Path | None) -> str:
    if bool(given) == (certificate is not None):
        raise OperatorError("give either --identity or --certificate.")
    if certificate is None:
        return given
    try:
        identity = WorkerCertificates(None).worker_with(certificate.read_text("ascii"), "").identity
    except OSError as error:
        raise OperatorError(f"{certificate} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise OperatorError(f"{certificate} is not a certificate in PEM.") from None
    if not identity:
        raise OperatorError(
            f"{certificate} names no worker now: it needs one URI SAN, or else one DNS SAN, no wildcard, and dates that include today."
        )
    return identity


def _show(identity: str, grant: WorkerGrant | None, lacking: list[GrantPart]) -> None:
    if grant is None:
        console.print(f"[red]Denied:[/] the policy does not name {escape(identity)}.")
    elif lacking:
        console.print(f"[red]Denied:[/] the grant of {escape(identity)} does not cover it.")
        for part in lacking:
            console.print(f"  {escape(explained(part, grant))}")
    else:
        console.print(f"[green]Allowed[/] by the grant of {escape(identity)}.")
        for limit in _limits(grant):
            console.print(f"  {limit}")


def _limits(grant: WorkerGrant) -> Iterator[str]:
    yield f"rate: {grant.rate or 'no limit'}"
    yield f"budget: {grant.budget or 'no limit'}"
