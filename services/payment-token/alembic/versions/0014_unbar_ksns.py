"""Operators may forget failed attempts under a KSN.

Revision: 0014, after 0013. Phase: pre.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Roles are made by another migration, and are of the whole server.
_CHANGE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_rotator') THEN
        {change};
    END IF;
END
$$
"""


def upgrade() -> None:
    op.execute(_CHANGE.format(change="GRANT SELECT, DELETE ON failed_attempts TO pt_rotator"))


def downgrade() -> None:
    """Nothing is lost. A bar then ends with time alone."""
    op.execute(_CHANGE.format(change="REVOKE SELECT, DELETE ON failed_attempts FROM pt_rotator"))
