"""Migrations and the schema that the code knows are the same, both ways."""

import psycopg
import pytest
from alembic.util import CommandError

from alembic import command
from payment_token.infrastructure.database import migration
from payment_token.infrastructure.database.partition_storage import TOKEN_PARTITION_STORAGE
from payment_token.infrastructure.database.tables import (
    metadata,
    payment_tokens,
)
from payment_token.settings import SERVICE_FOLDER, ConfigurationError

_TABLES = (
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
)
_THIS_MONTH = "SELECT 'decrypt_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
_FUNCTIONS = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


def test_the_newest_schema_is_what_the_code_knows(empty_database_url: str) -> None:
    migration.upgrade(empty_database_url)

    command.check(migration._config(empty_database_url))


def test_every_step_goes_up_and_down_and_leaves_nothing(empty_database_url: str) -> None:
    assert migration.current_revision(empty_database_url) is None

    for _ in range(2):
        migration.upgrade(empty_database_url)
        assert migration.current_revision(empty_database_url) == migration.head_revision()
        migration.downgrade(empty_database_url)
        assert migration.current_revision(empty_database_url) is None

    with psycopg.connect(empty_database_url) as database:
        assert database.execute(_TABLES).fetchone() == (0,)
        assert database.execute(_FUNCTIONS).fetchone() == (0,)


def test_a_drifted_schema_is_noticed(database_url: str) -> None:
    with psycopg.connect(database_url) as database:
        database.execute("ALTER TABLE payment_tokens ADD COLUMN cvv text")

    with pytest.raises(CommandError, match="New upgrade operations detected"):
        command.check(migration._config(database_url))


def test_partitions_are_no_drift_and_what_is_not_one_is(database_url: str) -> None:
    command.check(migration._config(database_url))
    with psycopg.connect(database_url, autocommit=True) as database:
        (partition,) = database.execute(
            "SELECT min(inhrelid::regclass::text) FROM pg_inherits"
            " WHERE inhparent = 'payment_tokens'::regclass"
        ).fetchone() or ("",)
        database.execute(f"ALTER TABLE payment_tokens DETACH PARTITION {partition}")

    with pytest.raises(CommandError, match="New upgrade operations detected"):
        command.check(migration._config(database_url))


def test_partition_key_and_storage_parameters_are_those_of_the_code(database_url: str) -> None:
    """Alembic does not compare these."""
    options = "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE relname = %s"
    with psycopg.connect(database_url) as database:
        (partition_key,) = database.execute(
            "SELECT pg_get_partkeydef('payment_tokens'::regclass)"
        ).fetchone() or ("",)
        assert partition_key == payment_tokens.dialect_options["postgresql"]["partition_by"]

        for table in metadata.tables.values():
            expected = table.dialect_options["postgresql"]["with"] or {}
            (known,) = database.execute(options, (table.name,)).fetchone() or ([],)
            assert dict(option.split("=") for option in known) == expected, table.name

        partitions = database.execute(
            "SELECT reloptions FROM pg_class JOIN pg_inherits ON inhrelid = oid"
            " WHERE inhparent = 'payment_tokens'::regclass"
        ).fetchall()
        assert len(partitions) > 5
        for (known,) in partitions:
            assert dict(option.split("=") for option in known) == TOKEN_PARTITION_STORAGE


def test_epoch_keys_never_reach_the_write_ahead_log(database_url: str) -> None:
    with psycopg.connect(database_url) as database:
        unlogged = database.execute(
            "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1"
        )
        # Nor does what API keys use of their rates, and how terminals fail: it is worth little after a crash.
        assert unlogged.fetchall() == [
            ("api_key_permits",),
            ("device_failures",),
            ("sad_epoch_keys",),
        ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET record = ''",
        "DELETE FROM {}",
        "TRUNCATE {}",
    ],
)
@pytest.mark.parametrize("table", ["decrypt_audit_log", "this_month"])
def test_the_audit_log_is_append_only_even_for_its_owner(
    database_url: str, statement: str, table: str
) -> None:
    with psycopg.connect(database_url) as database:
        if table == "this_month":
            (table,) = database.execute(_THIS_MONTH).fetchone() or ("",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(statement.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_seals SET root = ''",
        "DELETE FROM audit_tiles",
        "TRUNCATE audit_seals",
        "DELETE FROM decrypt_audit_log_unchained",
    ],
)
def test_what_stands_above_the_records_is_append_only_too(
    database_url: str, statement: str
) -> None:
    with (
        psycopg.connect(database_url) as database,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        database.execute(statement)


def test_a_schema_that_holds_audit_records_goes_down_only_when_they_may_go(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as database:
        database.execute(
            "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (gen_random_uuid(), 0, '{}')"
        )

    with pytest.raises(ConfigurationError, match="records"):
        migration.downgrade(database_url)
    assert migration.current_revision(database_url) is not None
    migration.downgrade(database_url, empty_audit_log=True)
    assert migration.current_revision(database_url) is None


def test_months_are_made_ahead_and_a_record_goes_into_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as database:
        months = database.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE inhparent = 'decrypt_audit_log'::regclass ORDER BY relname"
        ).fetchall()
        database.execute(
            "INSERT INTO decrypt_audit_log (writer_id, sequence, record) VALUES (gen_random_uuid(), 0, '{}')"
        )
        held = database.execute("SELECT tableoid::regclass::text FROM decrypt_audit_log").fetchone()
        again = database.execute("SELECT make_audit_partition(month) FROM decrypt_audit_log")

        assert len(months) == 14
        assert held == months[0]
        assert again.fetchone() == (False,)
        with pytest.raises(psycopg.errors.RaiseException, match="first day"):
            database.execute("SELECT make_audit_partition('2031-05-02')")


def test_one_version_of_a_purpose_is_active(database_url: str) -> None:
    add = (
        "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)"
        " VALUES ('service', %s, 'active', 'local:kek', '', 'test')"
    )
    with psycopg.connect(database_url) as database:
        database.execute(add, ("v1",))
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.execute(add, ("v2",))


def test_every_revision_says_its_phase() -> None:
    for path in (SERVICE_FOLDER / "alembic" / "versions").glob("*.py"):
        assert "Phase: p" in path.read_text(), path.name
