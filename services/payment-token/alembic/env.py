"""Runs migrations one process at a time, and gives up rather than queue behind a long lock in front of live traffic."""

from sqlalchemy import create_engine, pool, text

from alembic import context
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.migration import (
    LOCK_TIMEOUT,
    MIGRATION_LOCK,
    STATEMENT_TIMEOUT,
)
from payment_token.infrastructure.database.session import sqlalchemy_url
from payment_token.infrastructure.database.tables import metadata

# A partition has the definition of its table, and comes and goes with the days.
_PARTITIONS = text("SELECT relname FROM pg_class WHERE relispartition")


def run_migrations() -> None:
    url = context.config.attributes.get("database_url") or deployment_url(for_migration=True)
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        partitions = set(connection.scalars(_PARTITIONS))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_server_default=True,
            include_name=lambda name, kind, _: kind != "table" or name not in partitions,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations run against a database; SQL scripts (--sql) are not offered.")
run_migrations()
