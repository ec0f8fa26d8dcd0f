"""What a device is, which profile it has by name, since when it is in its state and why; an operator's own profiles.

Revision: 0013, after 0012. Phase: pre. Devices that are there have been in their state since they were registered, as far as anybody
knows.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)

_TEXTS = ("serial", "make", "model", "firmware", "profile_name")

# With its owner's rights, as in 0011.
_ACTIVATE_DEVICE = """
CREATE OR REPLACE FUNCTION activate_device(of_merchant text, of_device text) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
UPDATE {schema}.devices SET {changes}
 WHERE merchant_id = of_merchant AND device_id = of_device AND state = 'registered'
$$
"""

# As in 0012.
_SUSPEND = """
CREATE OR REPLACE FUNCTION suspend_device(merchant text, device text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.devices SET {changes}
     WHERE merchant_id = merchant AND device_id = device AND state IN ('registered', 'active');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.device_failures WHERE merchant_id = merchant AND device_id = device;
    RETURN true;
END
$$
"""

# Roles are made by another migration, and are of the whole server.
_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_ingest') THEN
        GRANT INSERT, UPDATE (state, state_changed_at, state_reason) ON devices TO pt_ingest;
        GRANT SELECT ON device_profiles TO pt_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        GRANT UPDATE (state, state_changed_at, state_reason) ON devices TO pt_rotator;
        GRANT SELECT, INSERT, DELETE ON device_profiles TO pt_rotator;
    END IF;
END
$$
"""

_TAKE_GRANTS_BACK = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_ingest') THEN
        REVOKE INSERT, UPDATE (state) ON devices FROM pt_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        REVOKE UPDATE (state) ON devices FROM pt_rotator;
    END IF;
END
$$
"""


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("devices", sa.Column(name, sa.Text(), nullable=True))
    op.add_column(
        "devices",
        sa.Column(
            "state_changed_at",
            _time,
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
    )
    op.add_column(
        "devices",
        sa.Column("state_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
    )
    op.execute("UPDATE devices SET state_changed_at = created_at")
    op.create_table(
        "device_profiles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", JSONB(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", _time, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("device_profiles_pkey")),
    )
    _change_functions(
        ", state_changed_at = clock_timestamp(), state_reason = ''",
        ", state_changed_at = clock_timestamp(), state_reason = 'suspended automatically: it kept failing'",
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    """Devices keep their states and profiles. What they are called, and why they are in their states, is lost."""
    op.execute(_TAKE_GRANTS_BACK)
    _change_functions("", "")
    op.drop_table("device_profiles")
    for name in ("state_reason", "state_changed_at", *reversed(_TEXTS)):
        op.drop_column("devices", name)


def _change_functions(at_activation: str, at_suspension: str) -> None:
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_ACTIVATE_DEVICE.format(schema=schema, changes=f"state = 'active'{at_activation}"))
    op.execute(_SUSPEND.format(schema=schema, changes=f"state = 'suspended'{at_suspension}"))
