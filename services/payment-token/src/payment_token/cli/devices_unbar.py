"""``payment-token devices unbar``: lets callers try again under key serial numbers that they were barred from."""

from collections.abc import Sequence

import typer

from payment_token.bootstrap.audit import this_operator
from payment_token.cli.confirmation import confirm
from payment_token.cli.deployment import load_settings, with_audit_log
from payment_token.cli.terminal import console
from payment_token.domain.device_states import checked_reason
from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.unbar_ksns import UnbarKSNs, checked_ksn_prefix
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.failed_attempts import PostgresFailedAttempts
from payment_token.infrastructure.database.pool import Pool


def unbar(
    ksn: str = typer.Argument(
        ..., metavar="KSN", help="As `devices events` shows it, or its first 10 digits or more."
    ),
    api_key: str | None = typer.Option(
        None, "--api-key", metavar="ID", help="Of this API key alone. Default: of all."
    ),
    reason: str = typer.Option("", "--reason", help="Why. It stands in the audit log."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """Let API keys try again that failed too often under a KSN: once the terminal's profile or key is corrected.

    Whoever has recorded such a read may try again as well.
    """
    prefix = checked_ksn_prefix(ksn)
    reason = checked_reason(reason)
    of_whom = "all API keys" if api_key is None else f"API key {api_key}"
    confirm(
        f"Forget the failed attempts of {of_whom} under KSNs that begin with {prefix}? Each may be tried again as often as"
        " before.",
        yes=yes,
    )

    async def run(pool: Pool, log: PostgresAuditLog) -> Sequence[AttemptName]:
        unbar_ksns = UnbarKSNs(
            attempts=PostgresFailedAttempts(pool), audit_log=log, operator=this_operator()
        )
        return await unbar_ksns(prefix, api_key, reason)

    forgotten = with_audit_log(load_settings(), run)
    ksns, keys = {one.ksn for one in forgotten}, {one.api_key_id for one in forgotten}
    if forgotten:
        said = f"The failed attempts are forgotten: API keys {len(keys):,}, KSNs {len(ksns):,}."
    else:
        said = (
            "Nothing has failed under such a KSN in the last 30 days: there was nothing to forget."
        )
    console.print(said, markup=False)
