"""What terminals did that an operator should hear of, and their latest failures.

Revision: 0012, after 0011. Phase: pre.
"""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)
_now = sa.text("clock_timestamp()")

# Whoever writes an event gives no time: not the minute, and not when it happened. Roles are made by another migration, and
# are of the whole server.
_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_ingest') THEN
        GRANT SELECT, INSERT (kind, merchant_id, device_id, ksn, api_key_id, detail, count), UPDATE (count, last_at)
            ON device_events TO pt_ingest;
        GRANT SELECT, INSERT (merchant_id, device_id, failures), UPDATE (failures) ON device_failures TO pt_ingest;
        GRANT EXECUTE ON FUNCTION suspend_device(text, text) TO pt_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_vault') THEN
        GRANT SELECT (minute, kind, merchant_id, device_id, api_key_id, count),
            INSERT (kind, merchant_id, device_id, ksn, api_key_id, detail, count), UPDATE (count, last_at)
            ON device_events TO pt_vault;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        GRANT SELECT, INSERT (kind, merchant_id, device_id, ksn, api_key_id, detail, count), UPDATE (count, last_at)
            ON device_events TO pt_rotator;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_maintainer') THEN
        GRANT SELECT, DELETE ON device_events, device_failures TO pt_maintainer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_auditor') THEN
        GRANT SELECT ON device_events TO pt_auditor;
    END IF;
END
$$
"""

# With the rights of the owner of the table. Its failures have had their effect: whoever reactivates it begins anew.
_SUSPEND = """
CREATE FUNCTION suspend_device(merchant text, device text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.devices SET state = 'suspended'
     WHERE merchant_id = merchant AND device_id = device AND state IN ('registered', 'active');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.device_failures WHERE merchant_id = merchant AND device_id = device;
    RETURN true;
END
$$
"""


def upgrade() -> None:
    _make_events()
    _make_failures()
    op.create_index(
        op.f("device_initial_keys_device_idx"), "device_initial_keys", ["merchant_id", "device_id"]
    )
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_SUSPEND.format(schema=schema))
    op.execute("REVOKE ALL ON FUNCTION suspend_device(text, text) FROM PUBLIC")
    op.execute(_GRANTS)


def downgrade() -> None:
    op.execute("DROP FUNCTION suspend_device(text, text)")
    op.drop_index(op.f("device_initial_keys_device_idx"), table_name="device_initial_keys")
    op.drop_table("device_failures")
    op.drop_table("device_events")


def _make_events() -> None:
    op.create_table(
        "device_events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "minute",
            _time,
            server_default=sa.text("date_trunc('minute', clock_timestamp())"),
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("ksn", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", _time, server_default=_now, nullable=False),
        sa.Column("last_at", _time, server_default=_now, nullable=False),
        sa.CheckConstraint(
            "octet_length(kind || merchant_id || device_id || ksn || api_key_id || detail) <= 1024",
            name=op.f("device_events_texts_check"),
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("device_events_pkey")),
        sa.UniqueConstraint(
            "minute",
            "merchant_id",
            "kind",
            "device_id",
            "api_key_id",
            name=op.f("device_events_once_a_minute_key"),
        ),
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.05"},
    )
    op.create_index(
        op.f("device_events_merchant_id_idx"), "device_events", ["merchant_id", "event_id"]
    )


def _make_failures() -> None:
    op.create_table(
        "device_failures",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column(
            "second",
            _time,
            server_default=sa.text("date_trunc('second', clock_timestamp())"),
            nullable=False,
        ),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "merchant_id", "device_id", "second", name=op.f("device_failures_pkey")
        ),
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("device_failures_second_idx"), "device_failures", ["second"])
