"""${message}

Revision: ${up_revision}, after ${down_revision | comma,n}. Made ${create_date}.

Phase: say "pre" (runs before the new code, so the old code must work with it) or "post" (runs after the old code is
gone). Add first, move data, remove last: old and new processes share the database while a deployment rolls.
Long work on large tables goes in batches; an index is made with postgresql_concurrently in an autocommit block.
"""

import sqlalchemy as sa
from alembic import op
${imports or ""}
revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if down_revision else None}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Change the schema, and describe the same change in infrastructure/database/tables.py."""


def downgrade() -> None:
    """Undo it, step by step in reverse."""
