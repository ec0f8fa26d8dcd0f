"""Which counters of a terminal have been used, how often a caller was wrong under a KSN, and what a BDK's terminals may repeat.

Revision: 0011, after 0010. Phase: pre. Terminals that are known begin with an empty window: their next read sets it.
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)

# With its owner's rights: who ingests does this one change of a device's state whatever else it may do to devices. Nothing of the
# caller's is on its path: a table of the same name in pg_temp, with a trigger, would run with those rights.
_ACTIVATE_DEVICE = """
CREATE FUNCTION activate_device(of_merchant text, of_device text) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
UPDATE {schema}.devices SET state = 'active'
 WHERE merchant_id = of_merchant AND device_id = of_device AND state = 'registered'
$$;
REVOKE ALL ON FUNCTION activate_device(text, text) FROM PUBLIC
"""

# Roles are made by another migration, and are of the whole server.
_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_ingest') THEN
        GRANT UPDATE (high_water, seen, first_seen_at, last_seen_at, tokens) ON device_initial_keys TO pt_ingest;
        GRANT EXECUTE ON FUNCTION activate_device(text, text) TO pt_ingest;
        GRANT SELECT, INSERT, UPDATE (failures, last_at) ON failed_attempts TO pt_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        GRANT UPDATE (replay_rule) ON base_derivation_keys TO pt_rotator;
        GRANT UPDATE (high_water, seen) ON device_initial_keys TO pt_rotator;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_maintainer') THEN
        GRANT SELECT, DELETE ON failed_attempts TO pt_maintainer;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.add_column(
        "base_derivation_keys",
        sa.Column("replay_rule", sa.Text(), server_default=sa.text("'reject'"), nullable=False),
    )
    op.create_check_constraint(
        op.f("base_derivation_keys_replay_rule_check"),
        "base_derivation_keys",
        "replay_rule IN ('reject', 'flag', 'off')",
    )
    op.add_column("device_initial_keys", sa.Column("high_water", sa.BigInteger(), nullable=True))
    op.execute("ALTER TABLE device_initial_keys ADD COLUMN seen bit(1024)")
    op.add_column("device_initial_keys", sa.Column("first_seen_at", _time, nullable=True))
    op.add_column("device_initial_keys", sa.Column("last_seen_at", _time, nullable=True))
    op.add_column(
        "device_initial_keys",
        sa.Column("tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("device_initial_keys_seen_check"),
        "device_initial_keys",
        "(high_water IS NULL) = (seen IS NULL)",
    )
    # Every read changes its terminal's row: there is room on the page for the next version.
    op.execute(
        "ALTER TABLE device_initial_keys SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,"
        " autovacuum_vacuum_threshold = 1000)"
    )
    op.create_table(
        "failed_attempts",
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("ksn", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", _time, nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "ksn", name=op.f("failed_attempts_pkey")),
    )
    op.create_index(op.f("failed_attempts_last_at_idx"), "failed_attempts", ["last_at"])
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_ACTIVATE_DEVICE.format(schema=schema))
    op.execute(_GRANTS)


def downgrade() -> None:
    """Forgets which counters were used: after it a recorded read can be sent again."""
    op.execute("DROP FUNCTION activate_device(text, text)")
    op.drop_table("failed_attempts")
    op.execute(
        "ALTER TABLE device_initial_keys RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)"
    )
    op.drop_constraint(op.f("device_initial_keys_seen_check"), "device_initial_keys")
    for column in ("tokens", "last_seen_at", "first_seen_at", "seen", "high_water"):
        op.drop_column("device_initial_keys", column)
    op.drop_constraint(op.f("base_derivation_keys_replay_rule_check"), "base_derivation_keys")
    op.drop_column("base_derivation_keys", "replay_rule")
