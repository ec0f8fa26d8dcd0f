"""When SAD that was ended is unrecoverable; workers' processes may end it, and maintenance finds what is overdue.

Revision: 0008, after 0007. Phase: pre.
"""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Roles are of the whole server, and made by another migration.
_ON_ROLE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_vault') THEN
        {change} UPDATE (sealed_sad, sad_destroyed_at, sad_unrecoverable_from) ON payment_tokens {to} pt_vault;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.add_column(
        "payment_tokens",
        sa.Column("sad_unrecoverable_from", sa.DateTime(timezone=True), nullable=True),
    )
    op.execute(_ON_ROLE.format(change="GRANT", to="TO"))


def downgrade() -> None:
    op.execute(_ON_ROLE.format(change="REVOKE", to="FROM"))
    op.drop_column("payment_tokens", "sad_unrecoverable_from")
