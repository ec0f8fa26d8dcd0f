"""``payment-token api-keys``: who may send payloads, and for which merchants."""

import os

import typer
from rich.console import Console
from rich.table import Table

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.deployment import load_settings, with_audit_log, with_pool
from payment_token.cli.terminal import console, listing
from payment_token.domain.api_key import new_api_key
from payment_token.domain.change_api_keys import ChangeAPIKeys
from payment_token.domain.identifiers import MERCHANT_ID, MerchantId
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.recognised_api_keys import REVOKED_WITHIN_SECONDS
from payment_token.settings import ConfigurationError

app = typer.Typer(help="API keys of POS integrators.", no_args_is_help=True)


@app.command()
def create(
    merchant: list[str] = typer.Option(
        ..., "--merchant", help="A merchant that the key acts for; repeatable."
    ),
    name: str = typer.Option("", "--name", help="What you call it."),
) -> None:
    """Make a key. Its secret is shown this once, alone on standard output."""
    for merchant_id in merchant:
        if not MERCHANT_ID.fullmatch(merchant_id):
            raise ConfigurationError(
                "--merchant: 1 to 64 of A-Z a-z 0-9 . _ : -, the first a letter or digit."
            )
    key, secret = new_api_key(name, tuple(map(MerchantId, dict.fromkeys(merchant))), os.urandom)

    async def add(pool: Pool, log: PostgresAuditLog) -> None:
        await changes_of(pool, log).add(key)

    with_audit_log(load_settings(), add)
    Console(stderr=True, highlight=False).print(
        f"API key {key.key_id}; keep the secret, it is not shown again:"
    )
    typer.echo(secret.reveal())


@app.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""

    async def read(pool: Pool) -> Table:
        table = listing("id", "name", "merchants", "created", "state")
        for key in await PostgresAPIKeyStore(pool).list_all():
            created = f"{key.created_at:%Y-%m-%d %H:%M}Z" if key.created_at else ""
            table.add_row(
                key.key_id,
                key.name,
                ", ".join(key.merchants),
                created,
                "revoked" if key.revoked_at else "active",
            )
        return table

    console.print(with_pool(load_settings(), read))


@app.command()
def revoke(key_id: str = typer.Argument(..., help="The id that `list` shows.")) -> None:
    """End a key. Running processes refuse it within 5 seconds. Again is fine."""

    async def end(pool: Pool, log: PostgresAuditLog) -> bool:
        return await changes_of(pool, log).revoke(key_id)

    if not with_audit_log(load_settings(), end):
        raise ConfigurationError(
            "There is no API key of that id. `payment-token api-keys list` shows them."
        )
    console.print(
        f"Revoked. Running processes refuse it within {REVOKED_WITHIN_SECONDS:.0f} seconds."
    )


def changes_of(pool: Pool, log: PostgresAuditLog) -> ChangeAPIKeys:
    return ChangeAPIKeys(store=PostgresAPIKeyStore(pool), audit_log=log, operator=this_operator())
