"""Devices that are there when the registry grows, and when it shrinks again."""

import psycopg
import pytest

from payment_token.infrastructure.database import migration

_BEFORE = "0012"

_ADD = (
    "INSERT INTO devices (merchant_id, device_id, bdk_id, state, profile, initial_key_ids, created_at)"
    " VALUES ('m_1', %s, 'b_1', %s, '{\"scheme\": \"dukpt-tdes\"}', '{}', '2026-01-02')"
)
_ACTIVATE = "SELECT activate_device('m_1', %s)"


def test_devices_keep_their_states_and_profiles(empty_database_url: str) -> None:
    migration.upgrade(empty_database_url, _BEFORE)
    with psycopg.connect(empty_database_url) as database:
        database.execute(_ADD, ("old", "stolen"))

    migration.upgrade(empty_database_url)

    with psycopg.connect(empty_database_url) as database:
        assert database.execute(
            "SELECT state, profile, state_changed_at = created_at, state_reason, serial, make, model, firmware,"
            " profile_name FROM devices"
        ).fetchall() == [
            ("stolen", {"scheme": "dukpt-tdes"}, True, "", None, None, None, None, None)
        ]


def test_the_first_read_tells_when_it_was(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(_ADD, ("new", "registered"))
        database.execute(_ADD, ("gone", "stolen"))
        database.execute("UPDATE devices SET state_changed_at = '2026-01-02', state_reason = 'x'")
        for name in ("new", "gone"):
            database.execute(_ACTIVATE, (name,))

        assert database.execute(
            "SELECT state, state_reason, state_changed_at > '2026-06-01' FROM devices ORDER BY device_id"
        ).fetchall() == [("stolen", "x", False), ("active", "", True)]


def test_down_and_up_again(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(_ADD, ("new", "registered"))
        database.execute(_ADD, ("gone", "suspended"))
        database.execute("UPDATE devices SET serial = 'SN', state_reason = 'x'")

    migration.downgrade(database_url, _BEFORE)

    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(_ACTIVATE, ("new",))
        database.execute(_ACTIVATE, ("gone",))
        assert database.execute("SELECT state FROM devices ORDER BY device_id").fetchall() == [
            ("suspended",),
            ("active",),
        ]
        may = "SELECT has_any_column_privilege('pt_ingest', 'devices', 'UPDATE'), has_table_privilege('pt_ingest', 'devices', 'INSERT')"
        assert database.execute(may).fetchone() == (False, False)
    migration.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as database:
        assert database.execute(may).fetchone() == (True, True)


@pytest.mark.parametrize(
    "change", ["state = 'lost'", "state_reason = NULL", "state_changed_at = NULL"]
)
def test_the_table_takes_no_nonsense(database_url: str, change: str) -> None:
    with psycopg.connect(database_url) as database:
        database.execute(_ADD, ("new", "registered"))
        with pytest.raises(psycopg.errors.IntegrityError):
            database.execute(f"UPDATE devices SET {change}")
