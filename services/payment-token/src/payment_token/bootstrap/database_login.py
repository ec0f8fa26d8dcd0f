"""Whether the login of a process fits what the process does."""

from collections.abc import Collection

from payment_token.bootstrap.listeners import Role
from payment_token.infrastructure.database.login import PostgresLogin
from payment_token.infrastructure.database.privileges import INGEST, MAINTAINER, SEALER, VAULT
from payment_token.safety import Finding, Severity
from payment_token.settings import ConfigurationError, Settings

DATABASE_ROLES = {
    Role.PUBLIC: INGEST,
    Role.INTERNAL: VAULT,
    Role.MAINTAIN: MAINTAINER,
    Role.SEALER: SEALER,
}

_SETTING = "DATABASE_URL"


async def check_login(settings: Settings, url: str) -> None:
    """Raises ConfigurationError in production, where what is recorded must be out of reach of whoever records it."""
    if not settings.in_production:
        return
    powers = await PostgresLogin(url).powers()
    if powers:
        raise ConfigurationError(
            f"{_SETTING}: this login could change the audit log: it {'; it '.join(powers)}."
            " Give the process a login of its own: docs/operations/database-roles.md."
        )


async def login_findings(settings: Settings, url: str, roles: Collection[Role]) -> list[Finding]:
    """Too little is refused. So is too much in production; elsewhere it is unwise, and in development nobody minds."""
    needed = [DATABASE_ROLES[role] for role in roles]
    report = await PostgresLogin(url).report(needed)
    findings = [
        Finding(
            Severity.REFUSED,
            _SETTING,
            f"{report.name} lacks {what}: GRANT {', '.join(needed)} TO {report.name}",
        )
        for what in report.missing
    ]
    if not settings.in_development:
        severity = Severity.REFUSED if settings.in_production else Severity.UNWISE
        findings += [
            Finding(severity, _SETTING, f"{report.name} {what}")
            for what in (
                *(f"could change the audit log: it {power}" for power in report.powers),
                *(f"{what}, which {_parts(roles)} does not need" for what in report.excess),
            )
        ]
    return findings


def _parts(roles: Collection[Role]) -> str:
    return " and ".join(role.value for role in roles)
