"""When SAD that was ended is unrecoverable; workers' processes may end it, and maintenance finds what is overdue.

Revision: 0008, after 0007. Phase: pre. The index is built beside requests, a partition at a time. Interrupted, start it again.
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


_INDEX = "payment_tokens_sad_deadline_idx"
_OF_LIVE_SAD = "(sad_deadline) WHERE sealed_sad IS NOT NULL"

# What an interrupted build has left is not valid, and is begun again.
_WITHOUT_INDEX = f"""
SELECT relname::text, pg_relation_size(partition.oid) > 0,
       (SELECT indexrelid::regclass::text FROM pg_index
         WHERE indexrelid = to_regclass(quote_ident(relname || '_sad_deadline_idx')) AND NOT indisvalid)
  FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
 WHERE inhparent = to_regclass('payment_tokens')
   AND NOT EXISTS (SELECT FROM pg_index JOIN pg_inherits AS attached ON attached.inhrelid = indexrelid
                    WHERE indrelid = partition.oid AND attached.inhparent = to_regclass('{_INDEX}'))
 ORDER BY relname
"""  # noqa: S608 - a name of ours


def upgrade() -> None:
    op.execute(
        "ALTER TABLE payment_tokens ADD COLUMN IF NOT EXISTS sad_unrecoverable_from timestamptz"
    )
    op.execute(_ON_ROLE.format(change="GRANT", to="TO"))
    op.execute(f"CREATE INDEX IF NOT EXISTS {_INDEX} ON ONLY payment_tokens {_OF_LIVE_SAD}")
    with op.get_context().autocommit_block():
        for partition, has_rows, unfinished in op.get_bind().execute(sa.text(_WITHOUT_INDEX)).all():
            if unfinished:
                op.execute(f"DROP INDEX {unfinished}")
            _index(partition, concurrently=has_rows)


def _index(partition: str, *, concurrently: bool) -> None:
    name = f"{partition}_sad_deadline_idx"
    how = "CONCURRENTLY " if concurrently else ""
    op.execute(f"CREATE INDEX {how}IF NOT EXISTS {name} ON {partition} {_OF_LIVE_SAD}")
    op.execute(f"ALTER INDEX {_INDEX} ATTACH PARTITION {name}")


def downgrade() -> None:
    op.execute(f"DROP INDEX {_INDEX}")
    op.execute(_ON_ROLE.format(change="REVOKE", to="FROM"))
    op.drop_column("payment_tokens", "sad_unrecoverable_from")
