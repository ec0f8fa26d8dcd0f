"""What workers used of their budgets and rates, window by window.

Revision: 0009, after 0008. Phase: pre.
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)

# The vault counts, and takes nothing back: a worker's budget is not given anew by whoever took over the process. The roles
# are made by another migration, and are of the whole server.
_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_vault') THEN
        GRANT SELECT, INSERT ON worker_token_uses, worker_limit_windows TO pt_vault;
        GRANT UPDATE (window_end, used) ON worker_limit_windows TO pt_vault;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pt_maintainer') THEN
        GRANT SELECT, DELETE ON worker_token_uses, worker_limit_windows TO pt_maintainer;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "worker_limit_windows",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("window_start", _time, nullable=False),
        sa.Column("window_end", _time, nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('tokens', 'requests')", name=op.f("worker_limit_windows_kind_check")
        ),
        sa.PrimaryKeyConstraint(
            "identity", "kind", "window_start", name=op.f("worker_limit_windows_pkey")
        ),
        postgresql_with={
            "fillfactor": "50",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "1000",
        },
    )
    op.create_index(
        op.f("worker_limit_windows_window_end_idx"), "worker_limit_windows", ["window_end"]
    )
    op.create_table(
        "worker_token_uses",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("window_start", _time, nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "identity", "window_start", "token_id", name=op.f("worker_token_uses_pkey")
        ),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "1000",
        },
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    op.drop_table("worker_token_uses")
    op.drop_table("worker_limit_windows")
