"""Keys that rotate: the whole life of a version, who runs with which, a signed history; device-aead and retired BDKs.

Revision: 0002, after 0001. Phase: pre.
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_APPEND_ONLY = """
CREATE FUNCTION key_events_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key_events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER key_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON key_events
    FOR EACH STATEMENT EXECUTE FUNCTION key_events_is_append_only();
"""

_time = sa.DateTime(timezone=True)


def upgrade() -> None:
    _extend_encryption_keys()
    _extend_base_derivation_keys()
    op.create_table(
        "key_holders",
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("held", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("lease_until", _time, nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("key_holders_pkey")),
    )
    op.create_table(
        "key_events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signing_key", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("key_events_pkey")),
    )
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.drop_table("key_events")
    op.execute("DROP FUNCTION key_events_is_append_only()")
    op.drop_table("key_holders")
    # An older release would use these again, or cannot use them.
    op.execute(
        "DELETE FROM base_derivation_keys"
        " WHERE algorithm = 'device-aead' OR retired_at IS NOT NULL OR merchant_id IS NOT NULL"
    )
    op.drop_index("base_derivation_keys_one_prefix_idx")
    op.create_unique_constraint(
        op.f("base_derivation_keys_ksn_prefix_key"), "base_derivation_keys", ["ksn_prefix"]
    )
    _replace_check(
        "base_derivation_keys",
        "algorithm",
        "algorithm IN ('tdes-2key', 'aes-128', 'aes-192', 'aes-256')",
    )
    op.drop_column("base_derivation_keys", "retired_at")
    op.drop_column("base_derivation_keys", "merchant_id")
    # What an older release does not know it cannot use: only live service and index keys stay.
    op.execute("DELETE FROM encryption_keys WHERE purpose = 'audit-signing' OR wrapped_key IS NULL")
    op.drop_constraint(op.f("encryption_keys_wrapped_key_check"), "encryption_keys")
    op.alter_column("encryption_keys", "wrapped_key", nullable=False)
    for name in ("destruction_due_at", "destroyed_at", "retired_at", "public_key"):
        op.drop_column("encryption_keys", name)
    _replace_check("encryption_keys", "purpose", "purpose IN ('service', 'index')")


def _extend_encryption_keys() -> None:
    _replace_check("encryption_keys", "purpose", "purpose IN ('service', 'index', 'audit-signing')")
    op.add_column("encryption_keys", sa.Column("public_key", sa.LargeBinary(), nullable=True))
    for name in ("retired_at", "destruction_due_at", "destroyed_at"):
        op.add_column("encryption_keys", sa.Column(name, _time, nullable=True))
    op.alter_column("encryption_keys", "wrapped_key", nullable=True)
    op.create_check_constraint(
        op.f("encryption_keys_wrapped_key_check"),
        "encryption_keys",
        "wrapped_key IS NOT NULL OR state IN ('destroying', 'destroyed')",
    )


def _extend_base_derivation_keys() -> None:
    _replace_check(
        "base_derivation_keys",
        "algorithm",
        "algorithm IN ('tdes-2key', 'aes-128', 'aes-192', 'aes-256', 'device-aead')",
    )
    op.add_column("base_derivation_keys", sa.Column("merchant_id", sa.Text(), nullable=True))
    op.add_column("base_derivation_keys", sa.Column("retired_at", _time, nullable=True))
    op.drop_constraint(op.f("base_derivation_keys_ksn_prefix_key"), "base_derivation_keys")
    op.create_index(
        "base_derivation_keys_one_prefix_idx",
        "base_derivation_keys",
        ["ksn_prefix"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.drop_constraint(constraint, table)
    op.create_check_constraint(constraint, table, condition)
