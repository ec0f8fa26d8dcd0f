"""Who may run the migration that makes the roles, and what it says to whoever may not."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.settings import ConfigurationError
from tests.support.databases import database_named, own_database

ROLES = ("pt_ingest", "pt_vault", "pt_rotator", "pt_sealer", "pt_maintainer", "pt_auditor")

_OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname ~ '^payment_tokens' AND relkind IN ('r', 'p')
"""

# What the roles may still do, in this database.
_GRANTED = """
SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE pg_get_userbyid(grantee) LIKE 'pt\\_%'
"""


@dataclass
class Owned:
    """A database that belongs to a login which is no superuser."""

    url: str
    admin: psycopg.Connection
    login: str


@pytest.fixture
def owned(server_url: str) -> Iterator[Owned]:
    login = f"migrator_{uuid.uuid4().hex[:8]}"
    with own_database(server_url) as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {login} LOGIN")
        try:
            admin.execute(f"ALTER DATABASE {admin.info.dbname} OWNER TO {login}")
            admin.execute(f"ALTER SCHEMA public OWNER TO {login}")
            yield Owned(url.replace("postgres@", f"{login}@"), admin, login)
        finally:
            admin.execute(f"REASSIGN OWNED BY {login} TO postgres")
            admin.execute(f"DROP OWNED BY {login}")
            admin.execute(f"DROP ROLE {login}")


@pytest.mark.usefixtures("template")  # the roles are there
def test_a_login_that_owns_the_database_migrates_once_it_is_a_member(owned: Owned) -> None:
    with pytest.raises(ConfigurationError) as refused:
        migration.upgrade(owned.url)
    assert f"GRANT pt_maintainer TO {owned.login};" in str(refused.value)
    owned.admin.execute(f"GRANT pt_maintainer TO {owned.login}")

    migration.upgrade(owned.url)

    assert owned.admin.execute(_OWNERS).fetchall() == [("pt_maintainer",)]
    # It goes on migrating what it does not own by itself any more.
    with psycopg.connect(owned.url) as database:
        database.execute("ALTER TABLE payment_tokens ADD COLUMN another text")
        database.rollback()
    migration.downgrade(owned.url, "0005")
    assert owned.admin.execute(_OWNERS).fetchall() == [(owned.login,)]
    assert owned.admin.execute(_GRANTED).fetchone() == (0,)
    migration.upgrade(owned.url)


@pytest.mark.usefixtures("template")
def test_a_login_that_may_make_roles_needs_nobody(owned: Owned) -> None:
    owned.admin.execute(f"ALTER ROLE {owned.login} CREATEROLE")
    with psycopg.connect(owned.url) as database:
        version = database.info.server_version
    if version >= 160000:
        # From PostgreSQL 16 it may grant only the roles that it made, or was given to administer.
        owned.admin.execute(f"GRANT pt_maintainer TO {owned.login} WITH ADMIN TRUE, INHERIT FALSE")

    migration.upgrade(owned.url)

    assert owned.admin.execute(_OWNERS).fetchall() == [("pt_maintainer",)]


def test_on_a_server_without_the_roles(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE plain LOGIN")
        urls = []
        for number in range(4):
            admin.execute(f"CREATE DATABASE d{number} OWNER plain")
            urls.append(database_named(server.url, f"d{number}"))
        plain = urls[0].replace("postgres@", "plain@")

        with pytest.raises(ConfigurationError) as refused:
            migration.upgrade(plain)
        said = str(refused.value)
        assert [role for role in ROLES if f"CREATE ROLE {role} NOLOGIN;" in said] == list(ROLES)

        # Several processes, since Alembic has one migration at a time in each.
        upgrade = "import sys; from payment_token.infrastructure.database import migration; migration.upgrade(sys.argv[1])"
        started = [
            subprocess.Popen([sys.executable, "-c", upgrade, url], stderr=subprocess.PIPE)
            for url in urls[1:]
        ]
        assert [(one.communicate()[1], one.returncode) for one in started] == [(b"", 0)] * 3

        # The roles are there now, and the rest of what was asked for was this.
        admin.execute(said[said.index("GRANT pt_maintainer") :].strip())
        migration.upgrade(plain)


def test_the_roles_log_in_nowhere_and_may_nothing_on_the_server(database_url: str) -> None:
    with psycopg.connect(database_url) as database:
        powers = database.execute(
            "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s)"
            " AND NOT (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
            (list(ROLES),),
        ).fetchall()
        nested = database.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member::regrole::text = ANY (%s)",
            (list(ROLES),),
        ).fetchone()
    assert {role for (role,) in powers} == set(ROLES)
    assert nested == (0,)
