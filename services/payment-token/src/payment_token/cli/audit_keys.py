"""``payment-token audit keys``: what an auditor needs to check signatures of the audit log."""

from collections.abc import Sequence

import typer

from payment_token.cli.deployment import load_settings, with_pool
from payment_token.cli.terminal import report_error
from payment_token.domain.transparency.signed_note import VerifierKey
from payment_token.infrastructure.database.key_versions import PostgresKeyVersions
from payment_token.infrastructure.database.pool import Pool


def keys() -> None:
    """Print the public keys that sign the log, one a line as NAME+ID+KEY, the oldest first. Give them to auditors early."""
    settings = load_settings()

    async def read(pool: Pool) -> Sequence[bytes]:
        return await PostgresKeyVersions(pool).public_keys()

    public_keys = with_pool(settings, read)
    for public_key in public_keys:
        typer.echo(str(VerifierKey(settings.log_origin, public_key)))
    if not public_keys:
        report_error(
            "there is no key yet: payment-token keys init, or the first start of the service, makes it"
        )
        raise typer.Exit(1)
