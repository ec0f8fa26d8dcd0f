"""``payment-token doctor``: is this deployment sound, and if not, what to do."""

import asyncio

import typer

from payment_token.bootstrap import Role, Service, build_listeners
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, listing
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.self_test import KNOWN_ANSWERS, SelfTestResult, ask
from payment_token.domain.self_test.custodians import Unanswered, prove_bdk
from payment_token.infrastructure.database import migration
from payment_token.safety import Severity, configuration_findings
from payment_token.settings import ConfigurationError, Settings

_STYLES = {"ok": "green", Severity.UNWISE.value: "yellow", Severity.REFUSED.value: "red"}


def doctor() -> None:
    """Check the configuration, the cryptography, the database, the keys and the certificates. Exit 1 when something is refused."""
    settings = load_settings()
    rows = [
        (finding.severity.value, finding.setting, finding.advice)
        for finding in configuration_findings(settings)
    ]
    rows += [_self_test_row(result) for result in ask(KNOWN_ANSWERS)]
    if not any(state == Severity.REFUSED for state, _, _ in rows):
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
    except (ConfigurationError, PaymentTokenError) as error:
        return [(Severity.REFUSED.value, "start", str(error))]


async def _service_checks(settings: Settings, url: str) -> list[tuple[str, str, str]]:
    async with Service.started(settings, url) as service:
        build_listeners(service, list(Role))
        rows = [_self_test_row(result) for result in service.keys.kek_proofs.results.values()]
        if not service.keys.cryptography.stopped:
            rows += [*await _bdk_rows(service), ("ok", "keys", "open")]
            if settings.local_keystore_file is not None:
                service.keys.custodians.local_keystore.check()
        failing = await service.readiness()
        milliseconds = service.clock.error_seconds() * 1000
    rows += [("ok", "certificates and policy", "load")]
    rows += [("ok", "database clock", f"is known to {milliseconds:.1f} ms")]
    rows += [(Severity.REFUSED.value, name, code) for name, code in failing.items()]
    return (
        rows
        if failing
        else [*rows, ("ok", "readiness", "database, custodian, clock and audit are usable")]
    )


async def _bdk_rows(service: Service) -> list[tuple[str, str, str]]:
    return [
        _self_test_row(await prove_bdk(service.keys.custodians, known.bdk, known.key_check_value))
        for known in await service.directory.list_bdks()
        if known.retired_at is None
    ]


def _self_test_row(result: SelfTestResult | Unanswered) -> tuple[str, str, str]:
    passed = isinstance(result, SelfTestResult) and result.passed
    return ("ok" if passed else Severity.REFUSED.value, f"self-test {result.name}", result.detail)
