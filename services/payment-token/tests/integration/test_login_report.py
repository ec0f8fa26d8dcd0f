"""What `doctor` says of a login: too little, enough, too much, or a way to change the audit log."""

from collections.abc import Iterator

import psycopg
import pytest

from payment_token.bootstrap.database_login import check_login, login_findings
from payment_token.bootstrap.listeners import Role
from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.infrastructure.database.login import LoginReport, PostgresLogin
from payment_token.infrastructure.database.privileges import NEEDS
from payment_token.safety import Severity
from payment_token.settings import ConfigurationError, Environment, Settings
from tests.support.logins import login_of


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def report(url: str, *roles: str) -> LoginReport:
    return await PostgresLogin(url).report(roles)


def settings(environment: Environment, url: str) -> Settings:
    return Settings(environment=environment, database_url=url)


@pytest.mark.parametrize("role", NEEDS)
async def test_a_member_of_a_role_has_what_it_needs_and_no_more(
    database_url: str, role: str
) -> None:
    with login_of(database_url, role) as url:
        found = await report(url, role)

    assert (found.missing, found.excess, found.powers) == ([], [], [])


async def test_one_login_for_two_parts(database_url: str) -> None:
    with login_of(database_url, "pt_ingest", "pt_vault") as url:
        found = await report(url, "pt_ingest", "pt_vault")

    assert (found.missing, found.excess, found.powers) == ([], [], [])


@pytest.mark.parametrize("role", NEEDS)
async def test_a_stranger_lacks_all_of_it(database_url: str, role: str) -> None:
    with login_of(database_url) as url:
        found = await report(url, role)

    tables = {what.split(" on ")[-1] for what in found.missing}
    assert tables >= set(NEEDS[role])
    assert (found.excess, found.powers) == ([], [])


async def test_what_is_missing_is_named(database_url: str, admin: psycopg.Connection) -> None:
    with login_of(database_url, "pt_vault") as url:
        admin.execute("REVOKE INSERT (record), TRUNCATE ON decrypt_audit_log FROM pt_vault")
        admin.execute("REVOKE SELECT ON encryption_keys FROM pt_vault")
        found = await report(url, "pt_vault")

    assert found.missing == ["INSERT (record) on decrypt_audit_log", "SELECT on encryption_keys"]


async def test_a_maintainer_without_its_function(
    database_url: str, admin: psycopg.Connection
) -> None:
    with login_of(database_url, "pt_maintainer") as url:
        admin.execute("REVOKE EXECUTE ON FUNCTION make_audit_partition(date) FROM pt_maintainer")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM pt_maintainer")
        found = await report(url, "pt_maintainer")

    assert len(found.missing) == 2
    assert "owns payment_tokens" in found.missing[0]
    assert "make_audit_partition" in found.missing[1]


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("GRANT pt_auditor TO {login}", ["is a member of pt_auditor"]),
        ("GRANT pt_maintainer TO {login}", ["is a member of pt_maintainer"]),
        ("GRANT DELETE ON payment_tokens TO {login}", ["may DELETE on payment_tokens"]),
        (
            "GRANT UPDATE (expires_at) ON payment_tokens TO {login}",
            ["may UPDATE (expires_at) on payment_tokens"],
        ),
        ("GRANT SELECT ON decrypt_audit_log TO {login}", ["may SELECT on decrypt_audit_log"]),
        ("GRANT INSERT ON decrypt_audit_log TO {login}", ["may INSERT on decrypt_audit_log"]),
        ("GRANT SELECT ON audit_records TO PUBLIC", ["may SELECT on audit_records"]),
        (
            "GRANT SELECT ON {month} TO {login}",
            ["may SELECT on a partition of decrypt_audit_log itself, past its table"],
        ),
        (
            "GRANT UPDATE ON {day} TO {login}",
            ["may UPDATE on a partition of payment_tokens itself, past its table"],
        ),
        (
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            ["may create objects in the schema (REVOKE CREATE ON SCHEMA … FROM PUBLIC)"],
        ),
    ],
)
async def test_too_much(
    database_url: str, admin: psycopg.Connection, grant: str, said: list[str]
) -> None:
    month, day = admin.execute(
        "SELECT (SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'decrypt_audit_log'::regclass),"
        "       (SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'payment_tokens'::regclass)"
    ).fetchone() or ("", "")
    with login_of(database_url, "pt_vault") as url:
        admin.execute(grant.format(login=_name(url), month=month, day=day))
        found = await report(url, "pt_vault")

    assert found.excess == said
    assert (found.missing, found.powers) == ([], [])


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("ALTER ROLE {login} SUPERUSER", "is a superuser"),
        ("GRANT postgres TO {login}", "owns the audit log"),
        ("ALTER SCHEMA public OWNER TO {login}", "owns the schema"),
        ("GRANT UPDATE ON decrypt_audit_log TO {login}", "may UPDATE, DELETE"),
        ("GRANT DELETE ON decrypt_audit_log TO PUBLIC", "may UPDATE, DELETE"),
        ("GRANT TRUNCATE ON {month} TO {login}", "may UPDATE, DELETE"),
        ("GRANT TRIGGER ON decrypt_audit_log TO {login}", "may UPDATE, DELETE"),
        ("GRANT UPDATE (root) ON audit_seals TO {login}", "may UPDATE, DELETE"),
        ("GRANT pg_write_all_data TO {login}", "may UPDATE, DELETE"),
        ("GRANT pg_execute_server_program TO {login}", "may run programs"),
    ],
)
async def test_nothing_starts_in_production_that_could_change_the_audit_log(
    database_url: str, admin: psycopg.Connection, grant: str, said: str
) -> None:
    (month,) = admin.execute(
        "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'decrypt_audit_log'::regclass"
    ).fetchone() or ("",)
    with login_of(database_url, "pt_vault") as url:
        await check_login(settings(Environment.PRODUCTION, url), url)
        admin.execute(grant.format(login=_name(url), month=month))
        try:
            with pytest.raises(ConfigurationError, match=said):
                await check_login(settings(Environment.PRODUCTION, url), url)
            await check_login(settings(Environment.TEST, url), url)
            strict = await login_findings(
                settings(Environment.PRODUCTION, url), url, [Role.INTERNAL]
            )
            lenient = await login_findings(settings(Environment.TEST, url), url, [Role.INTERNAL])
            silent = await login_findings(
                settings(Environment.DEVELOPMENT, url), url, [Role.INTERNAL]
            )
        finally:
            admin.execute("ALTER SCHEMA public OWNER TO postgres")

    assert any(said in finding.advice for finding in strict)
    assert {finding.severity for finding in strict} == {Severity.REFUSED}
    assert {finding.severity for finding in lenient} == {Severity.UNWISE}
    assert silent == []


async def test_too_little_is_refused_everywhere_and_says_what_to_grant(database_url: str) -> None:
    with login_of(database_url) as url:
        for environment in Environment:
            found = await login_findings(settings(environment, url), url, [Role.PUBLIC])
            assert {finding.severity for finding in found} == {Severity.REFUSED}
            assert f"GRANT pt_ingest TO {_name(url)}" in found[0].advice


async def test_a_database_that_is_away_is_an_outage() -> None:
    with pytest.raises(DatabaseUnavailableError):
        await report("postgresql://postgres@127.0.0.1:1/none", "pt_vault")


def _name(url: str) -> str:
    return url.partition("//")[2].partition("@")[0]
