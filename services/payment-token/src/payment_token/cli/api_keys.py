"""``payment-token api-keys``: who may send payloads, for which merchants, how often and until when."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.api_key_options import (
    ExpiresAt,
    ExpiresIn,
    NeverExpires,
    end_of,
    expiry_of,
    merchants_of,
    rate_of,
    scopes_of,
)
from payment_token.cli.deployment import load_settings, with_audit_log
from payment_token.cli.free_text import checked_text
from payment_token.cli.terminal import console
from payment_token.cli.time_options import parse_duration
from payment_token.domain.api_key import APIKey, Scope, new_api_key
from payment_token.domain.change_api_keys import ChangeAPIKeys
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.recognised_api_keys import REVOKED_WITHIN_SECONDS
from payment_token.settings import ConfigurationError

app = typer.Typer(help="API keys of POS integrators.", no_args_is_help=True)

KeyId = typer.Argument(..., metavar="KEY_ID", help="The id that `list` shows.")
_WITHIN = f"within {REVOKED_WITHIN_SECONDS:.0f} seconds"

Result = TypeVar("Result")


@app.command()
def create(
    merchant: list[str] = typer.Option(
        ..., "--merchant", help="A merchant that the key acts for; repeatable."
    ),
    name: str = typer.Option("", "--name", help="What you call it."),
    scope: list[Scope] = typer.Option(
        [],
        "--scope",
        help="What it may do; repeatable. Default: tokens:write (create, batches, delete) and tokens:read (the masked"
        " view). admin is for registering and stopping devices, and gives nothing else.",
    ),
    expires_in: str | None = ExpiresIn,
    expires_at: str | None = ExpiresAt,
    never_expires: bool = NeverExpires,
    rate: int | None = typer.Option(
        None, "--rate", help="Requests a second, over all processes. Default: unlimited."
    ),
    burst: int | None = typer.Option(
        None, "--burst", help="How many may come at once after a pause. Default: the rate."
    ),
) -> None:
    """Make a key. Its secret is shown this once, alone on standard output."""
    merchants, expiry = (
        merchants_of(merchant),
        expiry_of(expires_in, expires_at, never=never_expires),
    )
    scopes, limit = scopes_of(scope), rate_of(rate, burst)
    checked_text("--name", name)

    async def add(changes: ChangeAPIKeys) -> tuple[APIKey, SensitiveText]:
        made = new_api_key(
            name,
            merchants,
            os.urandom,
            scopes=scopes,
            expires_at=expiry(await changes.now()),
            rate=limit,
        )
        await changes.add(made[0])
        return made

    key, secret = _with_changes(add)
    _say(f"API key {key.key_id}, which {_expires(key)}; keep the secret, it is not shown again:")
    typer.echo(secret.reveal())


@app.command()
def rotate(
    key_id: str = KeyId,
    overlap: str = typer.Option(
        "24h",
        "--overlap",
        metavar="24h",
        help="How long both work: until then the integrator changes over. 0s if the secret is known to others.",
    ),
    expires_in: str | None = ExpiresIn,
    expires_at: str | None = ExpiresAt,
    never_expires: bool = NeverExpires,
) -> None:
    """Replace a key without downtime. Both work until the overlap is over, when the old one expires.

    The new one has the same merchants, scopes and rate. The old one never lives longer than it would have. The new secret
    is shown this once, alone on standard output.
    """
    both_work = parse_duration("--overlap", overlap)
    expiry = expiry_of(expires_in, expires_at, never=never_expires)
    rotated = _with_changes(lambda changes: changes.rotate(key_id, both_work, expiry, os.urandom))
    if rotated is None:
        raise _no_such_key()
    _say(
        f"API key {rotated.successor.key_id}, which {_expires(rotated.successor)}, replaces {escape(key_id)}, which works until"
        f" {_time(rotated.until)}; keep the secret, it is not shown again:"
    )
    typer.echo(rotated.secret.reveal())


@app.command()
def expire(
    key_id: str = KeyId,
    expires_in: str | None = typer.Option(None, "--in", metavar="7d", help="How long it lives on."),
    expires_at: str | None = typer.Option(
        None, "--at", metavar="TIME", help="When it expires, ISO 8601; UTC unless it says so."
    ),
) -> None:
    """Give a key an end, or an earlier one. A later one it gets by `rotate` only."""
    when = end_of(expires_in, expires_at)
    at = _with_changes(lambda changes: changes.expire(key_id, when))
    if at is None:
        raise _no_such_key()
    console.print(f"It expires at {_time(at)}. Running processes know {_WITHIN}.")


@app.command()
def revoke(key_id: str = KeyId) -> None:
    """End a key. Running processes refuse it within 5 seconds. Again is fine."""
    if not _with_changes(lambda changes: changes.revoke(key_id)):
        raise _no_such_key()
    console.print(f"Revoked. Running processes refuse it {_WITHIN}.")


def changes_of(pool: Pool, log: PostgresAuditLog) -> ChangeAPIKeys:
    return ChangeAPIKeys(store=PostgresAPIKeyStore(pool), audit_log=log, operator=this_operator())


def _with_changes(work: Callable[[ChangeAPIKeys], Awaitable[Result]]) -> Result:
    async def run(pool: Pool, log: PostgresAuditLog) -> Result:
        return await work(changes_of(pool, log))

    return with_audit_log(load_settings(), run)


def _no_such_key() -> ConfigurationError:
    return ConfigurationError(
        "There is no API key of that id. `payment-token api-keys list` shows them."
    )


def _say(text: str) -> None:
    """Beside standard output, on which the secret is alone."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def _expires(key: APIKey) -> str:
    return "never expires" if key.expires_at is None else f"expires at {_time(key.expires_at)}"


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
