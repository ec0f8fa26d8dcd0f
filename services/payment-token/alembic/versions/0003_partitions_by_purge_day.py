"""payment_tokens in one partition for each purge day; storage parameters for how each large table is used.

Revision: 0003, after 0002. Phase: pre. Older code works on the partitioned table as it is, but nothing of it makes
partitions: run the new code's maintenance within two weeks.

Rows are copied, about 50,000 in a second, and requests wait meanwhile or get 503: with many rows, run it when it is quiet.
What may take long or many locks happens before and after the copy, in steps of their own, and may be interrupted: start
the migration again. One transaction over 400 partitions would need more locks than a small server has.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The default MAX_TOKEN_TTL_HOURS is 400 days, and the purge day is the one after; maintenance keeps two weeks more.
_DAYS_AHEAD = 400 + 1 + 14
_PARTITIONS_IN_ONE_TRANSACTION = 50

_COLUMNS = (
    "merchant_id, purge_day, token_id, status, created_at, expires_at, revoked_at, card_brand, card_bin, card_last4,"
    " card_exp_month, card_exp_year, card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata, device_id,"
    " bdk_id, service_key, sealed_pan, sealed_sad, sad_deadline, sad_destroyed_at"
)

_KIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass('payment_tokens')"

_PARTITIONED = """
CREATE TABLE IF NOT EXISTS payment_tokens_partitioned (
    LIKE payment_tokens INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    CONSTRAINT payment_tokens_partitioned_pkey PRIMARY KEY (merchant_id, purge_day, token_id)
) PARTITION BY RANGE (purge_day)
"""

_PARTITION_STORAGE = (
    "fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200,"
    " autovacuum_vacuum_insert_scale_factor = 1, autovacuum_vacuum_insert_threshold = 1000000"
)

_PLAIN = """
CREATE TABLE payment_tokens_plain (
    LIKE payment_tokens INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    CONSTRAINT payment_tokens_plain_pkey PRIMARY KEY (merchant_id, purge_day, token_id)
)
"""

# What an operator granted on the table that was there, for the one that takes its place.
_GRANTS = """
SELECT format('GRANT %s ON payment_tokens TO %s%s', privilege_type,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class, aclexplode(relacl)
 WHERE oid = to_regclass('payment_tokens_old') AND grantee <> relowner
"""

_PARTITIONS_OF_OLD = """
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass('payment_tokens_partitioned')
"""

# Taken out of the table, but not dropped yet, when maintenance was interrupted.
_LEFT_OVER = """
SELECT oid::regclass::text FROM pg_class
 WHERE relkind = 'r' AND NOT relispartition AND relname ~ '^payment_tokens_\\d{4}_\\d\\d_\\d\\d$'
   AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('payment_tokens'))
"""

_STORAGE = {
    "token_idempotency_keys": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_limit": "2000",
    },
    "decrypt_audit_log": {
        "autovacuum_freeze_min_age": "0",
        "autovacuum_vacuum_insert_scale_factor": "0.02",
    },
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if _kind_of_table() == "r":
            op.execute(_PARTITIONED)
            _make_partitions()
    if _kind_of_table() == "r":
        _swap("payment_tokens_partitioned")
        op.execute("DROP TABLE payment_tokens_old")
    for table, parameters in _STORAGE.items():
        values = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        op.execute(f"ALTER TABLE {table} SET ({values})")


def downgrade() -> None:
    for table, parameters in _STORAGE.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(parameters)})")
    if _kind_of_table() == "p":
        op.execute(_PLAIN)
        _swap("payment_tokens_plain")
        op.execute("ALTER TABLE payment_tokens_old RENAME TO payment_tokens_partitioned")
    with op.get_context().autocommit_block():
        for query in (_PARTITIONS_OF_OLD, _LEFT_OVER):
            for partition in op.get_bind().scalars(sa.text(query)).all():
                op.execute(f"DROP TABLE {partition}")
        op.execute("DROP TABLE IF EXISTS payment_tokens_partitioned")


def _kind_of_table() -> str:
    return op.get_bind().scalar(sa.text(_KIND)) or ""


def _make_partitions() -> None:
    days = list(_days())
    for start in range(0, len(days), _PARTITIONS_IN_ONE_TRANSACTION):
        op.execute(
            ";".join(
                f"CREATE TABLE IF NOT EXISTS payment_tokens_{day:%Y_%m_%d} PARTITION OF payment_tokens_partitioned"
                f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}') WITH ({_PARTITION_STORAGE})"
                for day in days[start : start + _PARTITIONS_IN_ONE_TRANSACTION]
            )
        )


def _days() -> Iterator[date]:
    """Yesterday to the end of the horizon; and each day, expired or far away, that a row has."""
    rows = sa.text("SELECT DISTINCT purge_day FROM payment_tokens")
    now = sa.text("SELECT (now() AT TIME ZONE 'UTC')::date")
    today = op.get_bind().scalar(now)
    ahead = {today + timedelta(days=number) for number in range(-1, _DAYS_AHEAD + 1)}
    yield from sorted(ahead | set(op.get_bind().scalars(rows)))


def _swap(new: str) -> None:
    """In one transaction: nobody sees the table without its rows."""
    op.execute("LOCK TABLE ONLY payment_tokens IN ACCESS EXCLUSIVE MODE")
    op.execute(
        f"INSERT INTO {new} ({_COLUMNS}) SELECT {_COLUMNS} FROM payment_tokens"  # noqa: S608 - names of ours
    )
    op.execute("ALTER TABLE payment_tokens RENAME TO payment_tokens_old")
    op.execute("ALTER INDEX payment_tokens_pkey RENAME TO payment_tokens_old_pkey")
    op.execute(f"ALTER TABLE {new} RENAME TO payment_tokens")
    op.execute(f"ALTER INDEX {new}_pkey RENAME TO payment_tokens_pkey")
    for grant in op.get_bind().scalars(sa.text(_GRANTS)).all():
        op.execute(grant)
