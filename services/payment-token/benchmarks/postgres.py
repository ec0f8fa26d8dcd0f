"""The benchmark's own PostgreSQL: the embedded server, set up as a server with some memory would be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from payment_token.infrastructure.database.embedded import EmbeddedServer

# Durability is as it comes: fsync, full_page_writes and synchronous_commit are on. Memory and checkpoints are not:
# 128 MB of buffers and a checkpoint every few seconds of load are nobody's production.
TUNED = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "64MB",
}

STATED = (
    "server_version",
    *TUNED,
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "wal_compression",
    "max_connections",
    "autovacuum",
    "effective_cache_size",
    "work_mem",
    "jit",
    "commit_delay",
    "io_method",
)


@contextmanager
def tuned_server(deployment: Path) -> Iterator[EmbeddedServer]:
    """Held until the block ends, so that commands and services of the deployment attach to it."""
    with EmbeddedServer(deployment) as server, psycopg.connect(server.url, autocommit=True) as link:
        for name, value in TUNED.items():
            link.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )
    # The last one out has stopped it; it starts with the new settings.
    with EmbeddedServer(deployment) as server:
        yield server


def settings_of(url: str) -> dict[str, str]:
    """What is stated with the figures, as the running server has it."""
    with psycopg.connect(url) as link:
        found = link.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)",
            (list(STATED),),
        ).fetchall()
    return dict(sorted(found))


def settle(url: str) -> None:
    """A checkpoint and fresh statistics, so that no case pays for the one before."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("VACUUM ANALYZE")
        link.execute("CHECKPOINT")


def environment_for(url: str) -> dict[str, str]:
    """The environment that libpq's programs find this database by."""
    info = psycopg.conninfo.conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return os.environ | {names[key]: str(value) for key, value in info.items() if key in names}
