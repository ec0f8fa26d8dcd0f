"""The audit log as chained records in monthly partitions, and the seals, tiles and chains of the tree above it.

Revision: 0005, after 0004. Phase: pre, with the service stopped: an older release cannot write to the new table, and
releases no card data then. Records that it wrote stay, as they are, in decrypt_audit_log_unchained.
"""

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql

from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MONTHS_AHEAD = 13

_time = sa.DateTime(timezone=True)
_now = sa.text("clock_timestamp()")

# What stands in these tables is written once. Only the owner of the schema can take the triggers away, and that is a
# migration that somebody reviews. A statement that names a partition fires the partition's own trigger, not this one.
_APPEND_ONLY = """
CREATE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$
"""

_APPEND_ONLY_TABLE = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only()
"""

# Whoever maintains may make partitions and nothing else: the function does it as the owner of the table. A table that is
# attached takes no lock that writers wait behind; CREATE … PARTITION OF would.
_MAKE_PARTITION = """
CREATE FUNCTION make_audit_partition(first_day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    name text := 'decrypt_audit_log_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF first_day <> date_trunc('month', first_day) THEN
        RAISE EXCEPTION 'a partition begins on the first day of a month';
    END IF;
    IF EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = 'decrypt_audit_log'::regclass AND inhrelid = to_regclass(quote_ident(name))) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE decrypt_audit_log INCLUDING ALL)'
                   ' WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.02)', name);
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION is_append_only()', name);
    EXECUTE format('ALTER TABLE decrypt_audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first_day, (first_day + interval '1 month')::date);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION make_audit_partition(date) FROM PUBLIC;
"""

_MAKE_FIRST_PARTITIONS = f"""
SELECT make_audit_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => number))::date)
  FROM generate_series(0, {_MONTHS_AHEAD}) AS number
"""  # noqa: S608 - a number of ours

# A record is text, so that what was hashed is what stands there; people read it through this.
_RECORDS = """
CREATE VIEW audit_records WITH (security_barrier) AS
SELECT recorded_at, writer_id, sequence, parsed ->> 'event' AS event,
       (parsed ->> 'event_time')::timestamptz AS event_time, parsed ->> 'outcome' AS outcome, parsed ->> 'code' AS code,
       parsed ->> 'identity' AS identity, parsed ->> 'certificate_sha256' AS certificate_sha256,
       parsed ->> 'source' AS source, parsed ->> 'request_id' AS request_id,
       parsed ->> 'merchant_id' AS merchant_id, record::jsonb ->> 'token_id' AS token_id,
       parsed ->> 'purpose' AS purpose, parsed -> 'fields' AS fields, parsed ->> 'key_name' AS key_name,
       parsed -> 'details' AS details, record, month
  FROM decrypt_audit_log, LATERAL (SELECT record::jsonb AS parsed) AS of_record
"""

_INDEXES = ("pkey", "merchant_id_token_id_idx", "recorded_at_idx")

_HOLDS_RECORDS = "SELECT EXISTS (SELECT FROM decrypt_audit_log)"


def upgrade() -> None:
    op.execute("ALTER TABLE decrypt_audit_log RENAME TO decrypt_audit_log_unchained")
    _rename_indexes("decrypt_audit_log", "decrypt_audit_log_unchained")
    op.execute(
        "ALTER TABLE decrypt_audit_log_unchained"
        " RENAME CONSTRAINT decrypt_audit_log_outcome_check TO decrypt_audit_log_unchained_outcome_check"
    )
    op.execute(_APPEND_ONLY)
    _create_decrypt_audit_log()
    _create_seals()
    for table in ("decrypt_audit_log", "audit_seals", "audit_tiles"):
        op.execute(_APPEND_ONLY_TABLE.format(table=table))
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_MAKE_PARTITION.format(schema=schema))
    op.execute(_MAKE_FIRST_PARTITIONS)
    op.execute(_RECORDS)


def downgrade() -> None:
    if op.get_bind().scalar(sa.text(_HOLDS_RECORDS)) and not context.config.attributes.get(
        "empty_audit_log"
    ):
        raise CommandError("The audit log holds records: they are kept, so the schema stays.")
    op.execute("DROP VIEW audit_records")
    op.drop_table("audit_chains")
    op.drop_table("audit_tiles")
    op.drop_table("audit_seals")
    op.drop_table("decrypt_audit_log")
    op.execute("DROP FUNCTION make_audit_partition(date)")
    op.execute("DROP FUNCTION is_append_only()")
    op.execute("ALTER TABLE decrypt_audit_log_unchained RENAME TO decrypt_audit_log")
    _rename_indexes("decrypt_audit_log_unchained", "decrypt_audit_log")
    op.execute(
        "ALTER TABLE decrypt_audit_log"
        " RENAME CONSTRAINT decrypt_audit_log_unchained_outcome_check TO decrypt_audit_log_outcome_check"
    )


def _rename_indexes(before: str, after: str) -> None:
    for name in _INDEXES:
        op.execute(f"ALTER INDEX {before}_{name} RENAME TO {after}_{name}")


def _create_decrypt_audit_log() -> None:
    op.create_table(
        "decrypt_audit_log",
        sa.Column(
            "month",
            sa.Date(),
            server_default=sa.text(
                "(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC'))::date"
            ),
            nullable=False,
        ),
        sa.Column("writer_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", _time, server_default=_now, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "octet_length(record) <= 8192", name=op.f("decrypt_audit_log_record_check")
        ),
        sa.PrimaryKeyConstraint(
            "writer_id", "sequence", "month", name=op.f("decrypt_audit_log_pkey")
        ),
        postgresql_partition_by="RANGE (month)",
    )
    op.create_index(
        "decrypt_audit_log_token_id_idx",
        "decrypt_audit_log",
        [sa.text("(record::jsonb ->> 'token_id')")],
        postgresql_where=sa.text("(record::jsonb ->> 'token_id') IS NOT NULL"),
    )
    op.create_index(
        "decrypt_audit_log_recorded_at_idx",
        "decrypt_audit_log",
        ["recorded_at"],
        postgresql_using="brin",
    )
    op.create_index(
        "decrypt_audit_log_opened_idx",
        "decrypt_audit_log",
        ["recorded_at"],
        postgresql_where=sa.text("sequence = 0"),
    )


def _create_seals() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("tree_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_index", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", _time, server_default=_now, nullable=False),
        sa.Column("writer_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("first_sequences", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("last_sequences", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.Column("signing_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name=op.f("audit_seals_pkey")),
        # Two sealers that went on from the same tree cannot both write.
        sa.UniqueConstraint("first_index", name=op.f("audit_seals_first_index_key")),
    )
    op.create_table(
        "audit_tiles",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tile", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(hashes) = 8192", name=op.f("audit_tiles_hashes_check")),
        sa.PrimaryKeyConstraint("level", "tile", name=op.f("audit_tiles_pkey")),
    )
    op.create_table(
        "audit_chains",
        sa.Column("writer_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_sequence", sa.BigInteger(), nullable=False),
        sa.Column("sealed_hash", sa.LargeBinary(), nullable=False),
        sa.Column("opened_at", _time, nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("writer_id", name=op.f("audit_chains_pkey")),
    )
