"""What an API key may do, until when, how often, what replaced it, and when it was last used.

Revision: 0010, after 0009. Phase: pre. Keys that are there may do what they could, and never expire.
"""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)

# Roles are made by another migration, and are of the whole server.
_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_ingest') THEN
        GRANT SELECT, INSERT, UPDATE (last_used_at) ON api_key_uses TO pt_ingest;
        GRANT SELECT, INSERT, UPDATE (spent_until, granted) ON api_key_permits TO pt_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        GRANT UPDATE (expires_at, replaced_by) ON api_keys TO pt_rotator;
        GRANT SELECT ON api_key_uses TO pt_rotator;
    END IF;
END
$$
"""

# An older release knows no expiry and no scopes: what has ended would come back, and who may only read would write.
_REVOKE_WHAT_WOULD_GROW = """
UPDATE api_keys SET revoked_at = clock_timestamp()
 WHERE revoked_at IS NULL
   AND (expires_at <= clock_timestamp() OR replaced_by IS NOT NULL
        OR NOT scopes @> '{tokens:read,tokens:write}'::text[])
"""


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column(
            "scopes",
            sa.ARRAY(sa.Text()),
            server_default=sa.text("'{tokens:read,tokens:write}'"),
            nullable=False,
        ),
    )
    op.add_column("api_keys", sa.Column("expires_at", _time, nullable=True))
    op.add_column("api_keys", sa.Column("rate_per_second", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("rate_burst", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("replaced_by", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("api_keys_scopes_check"),
        "api_keys",
        "scopes <@ '{tokens:read,tokens:write,admin}'::text[] AND cardinality(scopes) > 0",
    )
    op.create_check_constraint(
        op.f("api_keys_rate_check"),
        "api_keys",
        "(rate_per_second IS NULL) = (rate_burst IS NULL) AND rate_per_second > 0 AND rate_burst > 0",
    )
    op.create_table(
        "api_key_uses",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("last_used_at", _time, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_key_uses_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "api_key_permits",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("spent_until", _time, nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_key_permits_pkey")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    """Revokes the keys that would come back or grow: expired, rotated, or of fewer scopes. Others never expire then."""
    op.execute(_REVOKE_WHAT_WOULD_GROW)
    op.drop_table("api_key_permits")
    op.drop_table("api_key_uses")
    op.drop_constraint(op.f("api_keys_rate_check"), "api_keys")
    op.drop_constraint(op.f("api_keys_scopes_check"), "api_keys")
    for column in ("replaced_by", "rate_burst", "rate_per_second", "expires_at", "scopes"):
        op.drop_column("api_keys", column)
