"""``payment-token doctor``: is this deployment sound, and if not, what to do."""

import asyncio

import typer

from payment_token.bootstrap import Role, Service, build_listeners
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, listing
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.device_directory import RegisteredBDK
from payment_token.safety import Severity, configuration_findings
from payment_token.settings import ConfigurationError, Settings

_STYLES = {"ok": "green", Severity.UNWISE.value: "yellow", Severity.REFUSED.value: "red"}


def doctor() -> None:
    """Check the whole configuration, the database, the keys and the certificates. Exit 1 when something is refused."""
    settings = load_settings()
    rows = [
        (finding.severity.value, finding.setting, finding.advice)
        for finding in configuration_findings(settings)
    ]
    if all(state != Severity.REFUSED for state, _, _ in rows):
        rows += _running_checks(settings)
    table = listing("", "what", "")
    table.title = f"{settings.environment} deployment in {settings.folder}"
    for state, what, advice in rows:
        table.add_row(f"[{_STYLES[state]}]{state}[/]", what, advice)
    console.print(table)
    if any(state == Severity.REFUSED for state, _, _ in rows):
        raise typer.Exit(1)


def _running_checks(settings: Settings) -> list[tuple[str, str, str]]:
    try:
        url = database_url(settings)
        current, newest = migration.current_revision(url), migration.head_revision()
        if current != newest:
            advice = (
                f"is at {current or 'nothing'}, this code needs {newest}: payment-token db upgrade"
            )
            return [(Severity.REFUSED.value, "schema", advice)]
        return [("ok", "schema", f"is at {newest}"), *asyncio.run(_service_checks(settings, url))]
    except KeyCustodianRefusedError as error:
        return [(Severity.REFUSED.value, "start", error.advice)]
    except (ConfigurationError, PaymentTokenError) as error:
        return [(Severity.REFUSED.value, "start", str(error))]


async def _service_checks(settings: Settings, url: str) -> list[tuple[str, str, str]]:
    async with Service.started(settings, url) as service:
        build_listeners(service, list(Role))
        if settings.local_keystore_file is not None:
            service.keys.custodians.local_keystore.check()
        bdks = [
            await _bdk_check(service, known)
            for known in await service.directory.list_bdks()
            if known.retired_at is None
        ]
        failing = await service.readiness()
        milliseconds = service.clock.error_seconds() * 1000
    rows = [("ok", "keys", "open"), ("ok", "certificates and policy", "load")]
    rows += bdks
    rows += [("ok", "database clock", f"is known to {milliseconds:.1f} ms")]
    rows += [(Severity.REFUSED.value, name, code) for name, code in failing.items()]
    return (
        rows
        if failing
        else [*rows, ("ok", "readiness", "database, custodian, clock and audit are usable")]
    )


async def _bdk_check(service: Service, known: RegisteredBDK) -> tuple[str, str, str]:
    """Whether its custodian has the key, and still the same one."""
    name, refused = f"BDK {known.bdk.bdk_id}", Severity.REFUSED.value
    try:
        value = await service.keys.custodians.check_value(known.bdk)
    except KeyCustodianRefusedError as error:
        return refused, name, error.advice
    except PaymentTokenError as error:
        return refused, name, str(error)
    if value != known.key_check_value:
        return refused, name, f"{known.bdk.key_uri} is another key than the registered one"
    return "ok", name, f"is there: check value {value}"
