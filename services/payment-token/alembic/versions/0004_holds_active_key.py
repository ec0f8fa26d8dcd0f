"""A function that takes the share lock on a key version and tells whether the version is the active one.

Revision: 0004, after 0003. Phase: pre.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Retiring a version takes the lock exclusively before it counts rows, so a version that is found active here stays so
# until the caller's transaction ends. Volatile, so that the look comes with a snapshot of its own after the lock.
_HOLDS_ACTIVE_KEY = """
CREATE FUNCTION holds_active_key(key_purpose text, key_version text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(key_purpose || '-key:' || key_version, 0));
    RETURN EXISTS (SELECT FROM encryption_keys
                    WHERE purpose = key_purpose AND version = key_version AND state = 'active');
END
$$;
"""


def upgrade() -> None:
    op.execute(_HOLDS_ACTIVE_KEY)


def downgrade() -> None:
    op.execute("DROP FUNCTION holds_active_key(text, text)")
