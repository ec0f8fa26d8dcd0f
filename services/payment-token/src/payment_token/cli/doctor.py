"""``payment-token doctor``: is this deployment sound, and if not, what to do."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import typer
from rich.markup import escape

from payment_token.bootstrap.certificate_findings import certificate_findings
from payment_token.bootstrap.database_login import login_findings
from payment_token.bootstrap.listeners import Role, build_listeners
from payment_token.bootstrap.service import AUDIT_MONTHS_MISSING, PARTITIONS_MISSING, Service
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.serve import default_roles
from payment_token.cli.terminal import console, listing
from payment_token.domain.api_key_review import advice_on
from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.domain.key_life.cryptoperiod import Standing
from payment_token.domain.key_life.version import KeyState
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.self_test import KNOWN_ANSWERS, SelfTestResult, ask
from payment_token.domain.self_test.custodians import Unanswered, prove_bdk
from payment_token.domain.worker_policy import Operation
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.process_hardening import forbid_core_dumps
from payment_token.infrastructure.worker_policy_file import WorkerPolicyFile
from payment_token.safety import Severity, configuration_findings
from payment_token.settings import Settings

_ADVICE = {
    missing: f"{missing}: payment-token maintain"
    for missing in (PARTITIONS_MISSING, AUDIT_MONTHS_MISSING)
}
_STYLES = {"ok": "green", Severity.UNWISE.value: "yellow", Severity.REFUSED.value: "red"}


def doctor(
    only: list[Role] = typer.Option(
        [],
        "--only",
        help="Check for a process that runs only this part, as `serve --only` does; repeatable.",
    ),
) -> None:
    """Check the configuration, the cryptography, the database and its login, the keys and the certificates.

    Exit 1 when something is refused.
    """
    settings = load_settings()
    forbid_core_dumps()
    rows = [
        (finding.severity.value, finding.setting, finding.advice)
        for finding in configuration_findings(settings)
    ]
    rows += _known_answer_rows()
    if not any(state == Severity.REFUSED for state, _, _ in rows):
        rows += _running_checks(settings, only or default_roles(settings))
    table = listing("", "what", "")
    table.title = f"{settings.environment} deployment in {settings.folder}"
    for state, what, advice in rows:
        table.add_row(f"[{_STYLES[state]}]{state}[/]", escape(what), escape(advice))
    console.print(table)
    if any(state == Severity.REFUSED for state, _, _ in rows):
        raise typer.Exit(1)


def _known_answer_rows() -> list[tuple[str, str, str]]:
    """One for all that passed, and one for each that failed."""
    results = ask(KNOWN_ANSWERS)
    passed = [result.name for result in results if result.passed]
    rows = [("ok", "self-tests", f"{len(passed)} published answers: {', '.join(passed)}")]
    return rows + [_self_test_row(result) for result in results if not result.passed]


def _running_checks(settings: Settings, roles: Collection[Role]) -> list[tuple[str, str, str]]:
    try:
        url = database_url(settings)
        current, newest = migration.current_revision(url), migration.head_revision()
        if current != newest:
            advice = (
                f"is at {current or 'nothing'}, this code needs {newest}: payment-token db upgrade"
            )
            return [(Severity.REFUSED.value, "schema", advice)]
        return [
            ("ok", "schema", f"is at {newest}"),
            *asyncio.run(_database_checks(settings, url, roles)),
        ]
    except KeyCustodianRefusedError as error:
        return [(Severity.REFUSED.value, "start", error.advice)]
    except (OperatorError, PaymentTokenError) as error:
        return [(Severity.REFUSED.value, "start", str(error))]


async def _database_checks(
    settings: Settings, url: str, roles: Collection[Role]
) -> list[tuple[str, str, str]]:
    found = await login_findings(settings, url, roles)
    rows = [(finding.severity.value, finding.setting, finding.advice) for finding in found]
    rows = rows or [("ok", "database login", f"fits {', '.join(roles)}")]
    # What could not start would only say in other words what the login lacks.
    starts = not any(state == Severity.REFUSED for state, _, _ in rows)
    if starts and any(role.answers for role in roles):
        rows += await _service_checks(settings, url, roles)
    return rows


async def _service_checks(
    settings: Settings, url: str, roles: Collection[Role]
) -> list[tuple[str, str, str]]:
    makes_tokens = Role.PUBLIC in roles
    async with Service.started(settings, url) as service:
        build_listeners(service, roles)
        rows = [_self_test_row(result) for result in service.keys.kek_proofs.results.values()]
        if not service.keys.cryptography.stopped:
            # What only releases knows no BDK.
            rows += await _bdk_rows(service) if makes_tokens else []
            rows += [("ok", "keys", "open"), *await _age_rows(service)]
            if settings.local_keystore_file is not None:
                service.keys.custodians.local_keystore.check()
        rows += await _api_key_rows(service) if makes_tokens else []
        failing = await (service.readiness() if makes_tokens else service.readiness_to_release())
        milliseconds = service.clock.error_seconds() * 1000
    rows += [
        ("ok", "certificates and policy", "load"),
        *_certificate_rows(settings, roles),
        *_policy_rows(settings, roles),
    ]
    rows += [("ok", "database clock", f"is known to {milliseconds:.1f} ms")]
    rows += [
        (Severity.REFUSED.value, name, _ADVICE.get(code, code)) for name, code in failing.items()
    ]
    return (
        rows
        if failing
        else [
            *rows,
            ("ok", "readiness", "database, partitions, custodian, clock and audit are usable"),
        ]
    )


async def _bdk_rows(service: Service) -> list[tuple[str, str, str]]:
    rows = []
    for known in await service.directory.list_bdks():
        if known.retired_at is None:
            bdk = known.bdk
            rows.append(
                _self_test_row(await prove_bdk(service.keys.custodians, bdk, known.key_check_value))
            )
            if bdk.replay_rule is not ReplayRule.REJECT:
                advice = f"a recorded read makes another token each time: payment-token bdk replay {bdk.bdk_id} reject"
                rows.append((Severity.UNWISE.value, f"BDK {bdk.bdk_id}", advice))
    return rows


async def _api_key_rows(service: Service) -> list[tuple[str, str, str]]:
    """Those that want attention. In development, the key of `dev init` may live for ever."""
    may_live_for_ever = service.settings.in_development
    return [
        (Severity.UNWISE.value, f"API key {reading.key.key_id}", advice)
        for reading in await service.api_key_store.list_all()
        for advice in advice_on(reading, may_live_for_ever=may_live_for_ever)
    ]


async def _age_rows(service: Service) -> list[tuple[str, str, str]]:
    """The keys that are due for rotation, or will be soon."""
    keys = service.keys
    rows = []
    for version in await keys.versions.all():
        if version.state is KeyState.ACTIVE and version.activated_at is not None:
            standing = keys.cryptoperiod.standing(version.activated_at, keys.clock.now())
            due = f"{keys.cryptoperiod.due_at(version.activated_at):%Y-%m-%d}"
            if standing is not Standing.CURRENT:
                advice = f"is {standing}, rotation by {due}: payment-token keys rotate --purpose {version.purpose}"
                rows.append((Severity.UNWISE.value, f"{version.purpose} key", advice))
    return rows


def _certificate_rows(settings: Settings, roles: Collection[Role]) -> list[tuple[str, str, str]]:
    return [
        (finding.severity.value, finding.setting, finding.advice)
        for finding in certificate_findings(settings, roles, datetime.now(UTC))
    ]


def _policy_rows(settings: Settings, roles: Collection[Role]) -> list[tuple[str, str, str]]:
    """The workers whose certificate, stolen, would be worth every card that the policy lets it have."""
    if settings.in_development or Role.INTERNAL not in roles or settings.worker_policy_file is None:
        return []
    grants = WorkerPolicyFile(settings.worker_policy_file).current().grants
    unbounded = [
        identity
        for identity, grant in sorted(grants.items())
        if Operation.DECRYPT in grant.operations and grant.budget is None
    ]
    if not unbounded:
        return []
    advice = f"no budget of tokens: {', '.join(unbounded)}. docs/policy.md says how to choose one."
    return [(Severity.UNWISE.value, "worker policy", advice)]


def _self_test_row(result: SelfTestResult | Unanswered) -> tuple[str, str, str]:
    passed = isinstance(result, SelfTestResult) and result.passed
    return ("ok" if passed else Severity.REFUSED.value, f"self-test {result.name}", result.detail)
