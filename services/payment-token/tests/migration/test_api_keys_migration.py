"""What becomes of the API keys that are there when they get scopes and an expiry, and when those are taken away again."""

import psycopg
import pytest

from payment_token.infrastructure.database import migration

_BEFORE = "0009"

_ADD = "INSERT INTO api_keys (key_id, name, merchants, secret_sha256) VALUES (%s, '', '{m_1}', '')"


def test_keys_may_do_what_they_could_and_never_expire(empty_database_url: str) -> None:
    migration.upgrade(empty_database_url, _BEFORE)
    with psycopg.connect(empty_database_url) as database:
        database.execute(_ADD, ("old",))

    migration.upgrade(empty_database_url)

    with psycopg.connect(empty_database_url) as database:
        assert database.execute(
            "SELECT scopes, expires_at, rate_per_second, rate_burst, replaced_by, revoked_at FROM api_keys"
        ).fetchall() == [(["tokens:read", "tokens:write"], None, None, None, None, None)]


def test_what_has_ended_stays_ended_and_nobody_may_more_in_an_older_release(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as database:
        for key_id, change in {
            "plain": "name = ''",
            "lives": "expires_at = now() + interval '1 day'",
            "expired": "expires_at = now() - interval '1 second'",
            "rotated": "expires_at = now() + interval '1 hour', replaced_by = 'plain'",
            "reads": "scopes = '{tokens:read}'",
            "all": "scopes = '{admin,tokens:read,tokens:write}'",
        }.items():
            database.execute(_ADD, (key_id,))
            database.execute(f"UPDATE api_keys SET {change} WHERE key_id = %s", (key_id,))

    migration.downgrade(database_url, _BEFORE)

    with psycopg.connect(database_url) as database:
        revoked = database.execute(
            "SELECT key_id FROM api_keys WHERE revoked_at IS NOT NULL ORDER BY 1"
        )
        assert [key_id for (key_id,) in revoked.fetchall()] == ["expired", "reads", "rotated"]
    migration.upgrade(database_url)


@pytest.mark.parametrize(
    "change",
    [
        "scopes = '{}'",
        "scopes = '{tokens:all}'",
        "scopes = NULL",
        "rate_per_second = 5",
        "rate_burst = 5",
        "rate_per_second = 0, rate_burst = 1",
        "rate_per_second = 1, rate_burst = -1",
    ],
)
def test_the_table_takes_no_nonsense(database_url: str, change: str) -> None:
    with psycopg.connect(database_url) as database:
        database.execute(_ADD, ("key",))
        with pytest.raises(psycopg.errors.IntegrityError):
            database.execute(f"UPDATE api_keys SET {change}")
