"""What of the audit log is archived, and what is held for a legal reason.

Revision: 0007, after 0006. Phase: pre.
"""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)
_now = sa.text("clock_timestamp()")

# The auditor reads both and places holds. Releasing one, noting an export and taking a month out of the database are
# the owner's: whoever may look for evidence must not be able to let it go. The role is made by another migration, and is
# of the whole server.
_GRANT_AUDITOR = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_auditor') THEN
        GRANT SELECT ON audit_holds, audit_exports TO pt_auditor;
        GRANT INSERT (hold_id, reason, placed_by, first_month, last_month) ON audit_holds TO pt_auditor;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "audit_holds",
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", _time, server_default=_now, nullable=False),
        sa.Column("released_at", _time, nullable=True),
        sa.Column("first_month", sa.Date(), nullable=True),
        sa.Column("last_month", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "(first_month IS NULL) = (last_month IS NULL) AND first_month <= last_month",
            name=op.f("audit_holds_months_check"),
        ),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("audit_holds_pkey")),
    )
    op.create_table(
        "audit_exports",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("first_index", sa.BigInteger(), nullable=False),
        sa.Column("last_index", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("manifest_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("exported_at", _time, server_default=_now, nullable=False),
        sa.Column("verified_at", _time, nullable=True),
        sa.Column("detached_at", _time, nullable=True),
        sa.CheckConstraint(
            "detached_at IS NULL OR verified_at IS NOT NULL",
            name=op.f("audit_exports_detached_check"),
        ),
        sa.PrimaryKeyConstraint("month", "location", name=op.f("audit_exports_pkey")),
    )
    op.execute(_GRANT_AUDITOR)


def downgrade() -> None:
    op.drop_table("audit_exports")
    op.drop_table("audit_holds")
