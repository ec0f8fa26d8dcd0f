"""The first schema: tokens, idempotency claims, wrapped keys, the decrypt audit log, and who and what may send.

Revision: 0001, the first. Phase: pre.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# An audit record is written once. Whoever may write the table may still not change what stands in it; only the owner
# of the schema can take the trigger away, and that is a migration that somebody reviews.
_APPEND_ONLY = """
CREATE FUNCTION decrypt_audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'decrypt_audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER decrypt_audit_log_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON decrypt_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION decrypt_audit_log_is_append_only();
"""


def upgrade() -> None:
    _create_payment_tokens()
    _create_token_idempotency_keys()
    _create_encryption_keys()
    _create_sad_epoch_keys()
    _create_decrypt_audit_log()
    _create_api_keys()
    _create_base_derivation_keys()
    _create_devices()
    _create_device_initial_keys()
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.drop_table("device_initial_keys")
    op.drop_table("devices")
    op.drop_table("base_derivation_keys")
    op.drop_table("api_keys")
    op.drop_table("decrypt_audit_log")
    op.drop_table("sad_epoch_keys")
    op.drop_table("encryption_keys")
    op.drop_table("token_idempotency_keys")
    op.drop_table("payment_tokens")
    op.execute("DROP FUNCTION decrypt_audit_log_is_append_only()")


def _create_payment_tokens() -> None:
    op.create_table(
        "payment_tokens",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("purge_day", sa.Date(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("card_brand", sa.Text(), nullable=False),
        sa.Column("card_bin", sa.Text(), nullable=False),
        sa.Column("card_last4", sa.Text(), nullable=False),
        sa.Column("card_exp_month", sa.SmallInteger(), nullable=True),
        sa.Column("card_exp_year", sa.SmallInteger(), nullable=True),
        sa.Column("card_entry_mode", sa.Text(), nullable=False),
        sa.Column("card_luhn", sa.Boolean(), nullable=False),
        sa.Column("card_expired", sa.Boolean(), nullable=False),
        sa.Column("card_expiry_valid", sa.Boolean(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("bdk_id", sa.Text(), nullable=False),
        sa.Column("service_key", sa.Text(), nullable=False),
        sa.Column("sealed_pan", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_sad", sa.LargeBinary(), nullable=True),
        sa.Column("sad_deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sad_destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'revoked') = (revoked_at IS NOT NULL)",
            name=op.f("payment_tokens_revoked_at_check"),
        ),
        sa.CheckConstraint(
            "status = 'active' OR (sealed_pan IS NULL AND sealed_sad IS NULL)",
            name=op.f("payment_tokens_shredded_check"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'revoked')", name=op.f("payment_tokens_status_check")
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "purge_day", "token_id", name=op.f("payment_tokens_pkey")
        ),
    )


def _create_token_idempotency_keys() -> None:
    op.create_table(
        "token_idempotency_keys",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "merchant_id", "idempotency_key", name=op.f("token_idempotency_keys_pkey")
        ),
    )
    op.create_index(
        op.f("token_idempotency_keys_expires_at_idx"),
        "token_idempotency_keys",
        ["expires_at"],
        unique=False,
    )


def _create_encryption_keys() -> None:
    op.create_table(
        "encryption_keys",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kms_key_id", sa.Text(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "purpose IN ('service', 'index')", name=op.f("encryption_keys_purpose_check")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'decrypt-only', 'destroying', 'destroyed')",
            name=op.f("encryption_keys_state_check"),
        ),
        sa.PrimaryKeyConstraint("purpose", "version", name=op.f("encryption_keys_pkey")),
    )
    op.create_index(
        "encryption_keys_one_active_idx",
        "encryption_keys",
        ["purpose"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )


def _create_sad_epoch_keys() -> None:
    op.create_table(
        "sad_epoch_keys",
        sa.Column("epoch_key_id", sa.Text(), nullable=False),
        sa.Column("kms_key_id", sa.Text(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dies_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("epoch_key_id", name=op.f("sad_epoch_keys_pkey")),
        prefixes=["UNLOGGED"],
    )


def _create_decrypt_audit_log() -> None:
    op.create_table(
        "decrypt_audit_log",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("worker_identity", sa.Text(), nullable=False),
        sa.Column("certificate_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("fields", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('released', 'refused')", name=op.f("decrypt_audit_log_outcome_check")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("decrypt_audit_log_pkey")),
    )
    op.create_index(
        op.f("decrypt_audit_log_merchant_id_token_id_idx"),
        "decrypt_audit_log",
        ["merchant_id", "token_id"],
        unique=False,
    )
    op.create_index(
        op.f("decrypt_audit_log_recorded_at_idx"),
        "decrypt_audit_log",
        ["recorded_at"],
        unique=False,
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("merchants", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_keys_pkey")),
    )


def _create_base_derivation_keys() -> None:
    op.create_table(
        "base_derivation_keys",
        sa.Column("bdk_id", sa.Text(), nullable=False),
        sa.Column("key_uri", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("ksn_prefix", sa.Text(), nullable=True),
        sa.Column("allow_pin_variant", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("key_check_value", sa.Text(), nullable=False),
        sa.Column("profile", postgresql.JSONB(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "algorithm IN ('tdes-2key', 'aes-128', 'aes-192', 'aes-256')",
            name=op.f("base_derivation_keys_algorithm_check"),
        ),
        sa.PrimaryKeyConstraint("bdk_id", name=op.f("base_derivation_keys_pkey")),
        sa.UniqueConstraint("ksn_prefix", name=op.f("base_derivation_keys_ksn_prefix_key")),
    )


def _create_devices() -> None:
    op.create_table(
        "devices",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("bdk_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("profile", postgresql.JSONB(), nullable=False),
        sa.Column("initial_key_ids", sa.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('registered', 'active', 'suspended', 'stolen', 'retired')",
            name=op.f("devices_state_check"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "device_id", name=op.f("devices_pkey")),
    )


def _create_device_initial_keys() -> None:
    op.create_table(
        "device_initial_keys",
        sa.Column("bdk_id", sa.Text(), nullable=False),
        sa.Column("initial_key_id", sa.LargeBinary(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column(
            "bound_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("bdk_id", "initial_key_id", name=op.f("device_initial_keys_pkey")),
    )
