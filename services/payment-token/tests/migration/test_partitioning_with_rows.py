"""A table with tokens in it becomes a partitioned one, and back, and loses nothing on the way."""

from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest

from payment_token.infrastructure.database import migration
from payment_token.settings import ConfigurationError

# Expired long ago and never purged; due today; live; of a longer life than the default allows.
DAYS_FROM_TODAY = (-900, -1, 0, 1, 2, 200, 401, 2000)

_INSERT = """
INSERT INTO payment_tokens
       (merchant_id, purge_day, token_id, status, created_at, expires_at, card_brand, card_bin, card_last4,
        card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata, device_id, bdk_id, service_key, sealed_pan,
        sealed_sad, sad_deadline)
SELECT 'm_' || number, %(day)s, 'pt_' || number, 'active', now(), now(), 'visa', '411111', '1111', 'swipe', true, false,
       true, '{"order": "A"}', 'd_1', 'b_1', 'v1', '\\x00ff', '\\x01', now()
  FROM generate_series(1, 3) AS number
"""

# The columns of the release before.
_ROWS = """
SELECT merchant_id, purge_day, token_id, status, created_at, expires_at, revoked_at, card_brand, card_bin, card_last4,
       card_exp_month, card_exp_year, card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata, device_id, bdk_id,
       service_key, sealed_pan, sealed_sad, sad_deadline, sad_destroyed_at
  FROM payment_tokens ORDER BY purge_day, merchant_id
"""


@pytest.fixture
def older(empty_database_url: str) -> Iterator[str]:
    """A database of the release before, with tokens."""
    migration.upgrade(empty_database_url, "0002")
    with psycopg.connect(empty_database_url) as database:
        for number in DAYS_FROM_TODAY:
            day = _today(database) + timedelta(days=number)
            database.execute(_INSERT, {"day": day})
        database.execute("UPDATE payment_tokens SET sealed_sad = NULL WHERE merchant_id = 'm_2'")
    return empty_database_url


def test_rows_are_there_after_each_way(older: str) -> None:
    with psycopg.connect(older, autocommit=True) as database:
        before = database.execute(_ROWS).fetchall()
        assert len(before) == 3 * len(DAYS_FROM_TODAY)

        migration.upgrade(older)
        assert _kind(database) == "p"
        assert database.execute(_ROWS).fetchall() == before

        migration.downgrade(older, "0002")
        assert _kind(database) == "r"
        assert database.execute(_ROWS).fetchall() == before
        left = database.execute(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^payment_tokens_(2|part|plain|old)'"
        )
        assert left.fetchone() == (0,)


def test_each_day_of_the_longest_life_has_its_partition(older: str) -> None:
    migration.upgrade(older)

    with psycopg.connect(older) as database:
        today = _today(database)
        for number in (-900, *range(-1, 416), 2000):
            name = f"payment_tokens_{today + timedelta(days=number):%Y_%m_%d}"
            assert database.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,), name


def test_grants_stay(older: str) -> None:
    grants = (
        "SELECT grantee, privilege_type, is_grantable FROM information_schema.table_privileges"
        " WHERE table_name = 'payment_tokens' ORDER BY 1, 2"
    )
    with psycopg.connect(older, autocommit=True) as database:
        database.execute("GRANT SELECT, INSERT ON payment_tokens TO pg_monitor")
        database.execute("GRANT UPDATE ON payment_tokens TO pg_monitor WITH GRANT OPTION")
        database.execute("GRANT SELECT ON payment_tokens TO PUBLIC")
        before = database.execute(grants).fetchall()

        migration.upgrade(older)
        # The newest schema has roles of its own besides, and another owner.
        assert set(_of_operators(before)) <= set(database.execute(grants).fetchall())
        migration.downgrade(older, "0002")
        assert database.execute(grants).fetchall() == before


def test_an_upgrade_that_found_the_table_locked_goes_on_later(
    older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(older) as reader, psycopg.connect(older, autocommit=True) as database:
        before = reader.execute(_ROWS).fetchall()
        with pytest.raises(ConfigurationError, match="lock timeout"):
            migration.upgrade(older)
        reader.rollback()
        assert _kind(database) == "r"

        # A token with a life of its own came meanwhile.
        database.execute(_INSERT, {"day": _today(database) + timedelta(days=1000)})
        migration.upgrade(older)

        assert _kind(database) == "p"
        assert len(database.execute(_ROWS).fetchall()) == len(before) + 3


def _of_operators(grants: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [grant for grant in grants if grant[0] in ("pg_monitor", "PUBLIC")]


def _kind(database: psycopg.Connection) -> str:
    (kind,) = database.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = 'payment_tokens'::regclass"
    ).fetchone() or ("",)
    return kind


def _today(database: psycopg.Connection) -> date:
    (day,) = database.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone() or ()
    return day
