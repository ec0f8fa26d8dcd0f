"""Watches, inside the database, that no record is ever committed under a version that is not active."""

import psycopg

_WATCH = """
CREATE TABLE written_under_inactive (token_id text, version text);
CREATE FUNCTION watch_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO written_under_inactive
    SELECT NEW.token_id, NEW.service_key
     WHERE NOT EXISTS (SELECT FROM encryption_keys
                        WHERE purpose = 'service' AND version = NEW.service_key AND state = 'active');
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER watch_version AFTER INSERT OR UPDATE OF sealed_pan ON payment_tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.sealed_pan IS NOT NULL) EXECUTE FUNCTION watch_version();
"""


def watch_written_rows(database: psycopg.Connection) -> None:
    """The check runs as each transaction commits, and sees what has been committed by then."""
    database.execute(_WATCH)


def written_under_inactive(database: psycopg.Connection) -> list[tuple[str, str]]:
    return database.execute("SELECT token_id, version FROM written_under_inactive").fetchall()
