"""The schema, as SQLAlchemy knows it. ``alembic check`` holds migrations and this file together.

``merchant_id`` is part of every key of the hot tables, so that they can be distributed by merchant one day.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

_time = DateTime(timezone=True)

# One partition for each purge day, named payment_tokens_YYYY_MM_DD; maintenance makes and drops them. Whatever reads the
# table gives the purge day as a value, not by a join alone, so that the planner finds the one partition.
payment_tokens = Table(
    "payment_tokens",
    metadata,
    Column("merchant_id", Text, primary_key=True),
    Column("purge_day", Date, primary_key=True),
    Column("token_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("expires_at", _time, nullable=False),
    Column("revoked_at", _time),
    Column("card_brand", Text, nullable=False),
    Column("card_bin", Text, nullable=False),
    Column("card_last4", Text, nullable=False),
    Column("card_exp_month", SmallInteger),
    Column("card_exp_year", SmallInteger),
    Column("card_entry_mode", Text, nullable=False),
    Column("card_luhn", Boolean, nullable=False),
    Column("card_expired", Boolean, nullable=False),
    Column("card_expiry_valid", Boolean, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("bdk_id", Text, nullable=False),
    Column("service_key", Text, nullable=False),
    Column("sealed_pan", LargeBinary),
    Column("sealed_sad", LargeBinary),
    Column("sad_deadline", _time),
    Column("sad_destroyed_at", _time),
    Column("sad_unrecoverable_from", _time),
    CheckConstraint("status IN ('active', 'revoked')", name="status"),
    CheckConstraint("(status = 'revoked') = (revoked_at IS NOT NULL)", name="revoked_at"),
    CheckConstraint(
        "status = 'active' OR (sealed_pan IS NULL AND sealed_sad IS NULL)", name="shredded"
    ),
    # Of tokens that still have SAD, so that what is overdue is found at any size of the table.
    Index(
        "payment_tokens_sad_deadline_idx",
        "sad_deadline",
        postgresql_where=text("sealed_sad IS NOT NULL"),
    ),
    postgresql_partition_by="RANGE (purge_day)",
)

# Every row is deleted when its window has passed: in a day as many dead rows come as there are live ones, so vacuum comes
# early and does not dawdle. Never partitioned: one unique constraint over all of it makes a key unique. Its pages are
# full (fillfactor 100), because a change of expires_at, which is indexed, never stays on its page anyway.
token_idempotency_keys = Table(
    "token_idempotency_keys",
    metadata,
    Column("merchant_id", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("token_id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("fingerprint_key", Text, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("expires_at", _time, nullable=False),
    Index(None, "expires_at"),
    postgresql_with={
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_limit": "2000",
    },
)

# What each worker was given within a window of its limits: how many distinct tokens (``tokens``) or requests
# (``requests``). By worker and not by merchant: a limit is of a worker, whatever merchants it acts for.
worker_limit_windows = Table(
    "worker_limit_windows",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("window_start", _time, primary_key=True),
    Column("window_end", _time, nullable=False),
    Column("used", BigInteger, nullable=False),
    CheckConstraint("kind IN ('tokens', 'requests')", name="kind"),
    Index(None, "window_end"),
    # A row is counted up again and again: there is room on its page for the next version.
    postgresql_with={
        "fillfactor": "50",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
    },
)

# Which tokens those were. Every row is deleted when its window is over: as many as the budgets have, and those of the last hour.
worker_token_uses = Table(
    "worker_token_uses",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("window_start", _time, primary_key=True),
    Column("token_id", Text, primary_key=True),
    postgresql_with={
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
    },
)

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("purpose", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("kms_key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("environment", Text, nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("activated_at", _time),
    Column("public_key", LargeBinary),
    Column("retired_at", _time),
    Column("destruction_due_at", _time),
    Column("destroyed_at", _time),
    CheckConstraint("purpose IN ('service', 'index', 'audit-signing')", name="purpose"),
    CheckConstraint(
        "wrapped_key IS NOT NULL OR state IN ('destroying', 'destroyed')", name="wrapped_key"
    ),
    CheckConstraint(
        "state IN ('pending', 'active', 'decrypt-only', 'destroying', 'destroyed')", name="state"
    ),
    Index(
        "encryption_keys_one_active_idx",
        "purpose",
        unique=True,
        postgresql_where=text("state = 'active'"),
    ),
)

# The processes that run, and the versions that each of them can use, as "purpose:version".
key_holders = Table(
    "key_holders",
    metadata,
    Column("process_id", Uuid, primary_key=True),
    Column("description", Text, nullable=False),
    Column("held", ARRAY(Text), nullable=False),
    Column("lease_until", _time, nullable=False),
)

# What was done to keys, as signed JSON. Append-only.
key_events = Table(
    "key_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("statement", Text, nullable=False),
    Column("signing_key", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# UNLOGGED: never in the write-ahead log, and so in no base backup, archive or replica. A crash of the database empties
# it; the processes that live on write their keys back.
sad_epoch_keys = Table(
    "sad_epoch_keys",
    metadata,
    Column("epoch_key_id", Text, primary_key=True),
    Column("kms_key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("environment", Text, nullable=False),
    Column("starts_at", _time, nullable=False),
    Column("ends_at", _time, nullable=False),
    Column("dies_at", _time, nullable=False),
    prefixes=["UNLOGGED"],
)

# One event each, chained by its writer; see docs/audit-log.md. Append-only, one partition for each month, named
# decrypt_audit_log_YYYY_MM and made by make_audit_partition(). Month and time are the database's: a writer gives neither.
# The record is text and not jsonb, so that what was hashed is what stands there.
decrypt_audit_log = Table(
    "decrypt_audit_log",
    metadata,
    Column(
        "month",
        Date,
        primary_key=True,
        server_default=text("(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC'))::date"),
    ),
    Column("writer_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("recorded_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("record", Text, nullable=False),
    CheckConstraint("octet_length(record) <= 8192", name="record"),
    PrimaryKeyConstraint("writer_id", "sequence", "month"),
    Index(
        "decrypt_audit_log_token_id_idx",
        text("(record::jsonb ->> 'token_id')"),
        postgresql_where=text("(record::jsonb ->> 'token_id') IS NOT NULL"),
    ),
    Index("decrypt_audit_log_recorded_at_idx", "recorded_at", postgresql_using="brin"),
    Index("decrypt_audit_log_opened_idx", "recorded_at", postgresql_where=text("sequence = 0")),
    postgresql_partition_by="RANGE (month)",
)

# The tree above the records: each seal adds the leaves first_index … tree_size - 1, which are the runs of its writers
# in the order of the arrays. Append-only.
audit_seals = Table(
    "audit_seals",
    metadata,
    Column("tree_size", BigInteger, primary_key=True, autoincrement=False),
    Column("first_index", BigInteger, nullable=False, unique=True),
    Column("root", LargeBinary, nullable=False),
    Column("sealed_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("writer_ids", ARRAY(Uuid), nullable=False),
    Column("first_sequences", ARRAY(BigInteger), nullable=False),
    Column("last_sequences", ARRAY(BigInteger), nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("signing_key", Text, nullable=False),
)

# Full tiles of the tree: 256 hashes of 32 bytes each. Append-only.
audit_tiles = Table(
    "audit_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("tile", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("octet_length(hashes) = 8192", name="hashes"),
)

# How far each writer's chain is sealed: the sealer's notebook, which follows from the seals.
audit_chains = Table(
    "audit_chains",
    metadata,
    Column("writer_id", Uuid, primary_key=True),
    Column("sealed_sequence", BigInteger, nullable=False),
    Column("sealed_hash", LargeBinary, nullable=False),
    Column("opened_at", _time, nullable=False),
    Column("ended", Boolean, nullable=False),
)

# What must be kept whatever its age, for a legal reason. Without months: the whole log.
audit_holds = Table(
    "audit_holds",
    metadata,
    Column("hold_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False),
    Column("placed_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("released_at", _time),
    Column("first_month", Date),
    Column("last_month", Date),
    CheckConstraint(
        "(first_month IS NULL) = (last_month IS NULL) AND first_month <= last_month", name="months"
    ),
)

# The closed months of the log that are in an archive, and whether the database's copy is gone.
audit_exports = Table(
    "audit_exports",
    metadata,
    Column("month", Date, primary_key=True),
    Column("location", Text, primary_key=True),
    Column("first_index", BigInteger, nullable=False),
    Column("last_index", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("manifest_sha256", LargeBinary, nullable=False),
    Column("exported_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("verified_at", _time),
    Column("detached_at", _time),
    CheckConstraint("detached_at IS NULL OR verified_at IS NOT NULL", name="detached"),
)

# What releases before the chained log wrote: kept as it is, append-only.
decrypt_audit_log_unchained = Table(
    "decrypt_audit_log_unchained",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("event_time", _time, nullable=False),
    Column("recorded_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("outcome", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("worker_identity", Text, nullable=False),
    Column("certificate_sha256", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("merchant_id", Text),
    Column("token_id", Text),
    Column("purpose", Text),
    Column("fields", ARRAY(Text), nullable=False),
    Column("key_name", Text),
    CheckConstraint("outcome IN ('released', 'refused')", name="outcome"),
    Index(None, "recorded_at"),
    Index(None, "merchant_id", "token_id"),
    postgresql_with={
        "autovacuum_freeze_min_age": "0",
        "autovacuum_vacuum_insert_scale_factor": "0.02",
    },
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("merchants", ARRAY(Text), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("revoked_at", _time),
    Column(
        "scopes", ARRAY(Text), nullable=False, server_default=text("'{tokens:read,tokens:write}'")
    ),
    Column("expires_at", _time),
    Column("rate_per_second", Integer),
    Column("rate_burst", Integer),
    Column("replaced_by", Text),
    CheckConstraint(
        "scopes <@ '{tokens:read,tokens:write,admin}'::text[] AND cardinality(scopes) > 0",
        name="scopes",
    ),
    CheckConstraint(
        "(rate_per_second IS NULL) = (rate_burst IS NULL) AND rate_per_second > 0 AND rate_burst > 0",
        name="rate",
    ),
)

# When each API key was last used, to the minute. A table of its own: whoever may write it, and so lock its rows, can hold up
# no revocation, and every change stays on its page.
api_key_uses = Table(
    "api_key_uses",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("last_used_at", _time, nullable=False),
    postgresql_with={"fillfactor": "50"},
)

# What API keys with a rate have used of it: until when their permits are given out, and how many were given last. UNLOGGED:
# after a crash of the database everybody may begin with a full burst.
api_key_permits = Table(
    "api_key_permits",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("spent_until", _time, nullable=False),
    Column("granted", Integer, nullable=False),
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": "50"},
)

base_derivation_keys = Table(
    "base_derivation_keys",
    metadata,
    Column("bdk_id", Text, primary_key=True),
    Column("key_uri", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("ksn_prefix", Text),
    Column("allow_pin_variant", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("key_check_value", Text, nullable=False),
    Column("profile", JSONB, nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("merchant_id", Text),
    Column("retired_at", _time),
    Column("replay_rule", Text, nullable=False, server_default=text("'reject'")),
    CheckConstraint("replay_rule IN ('reject', 'flag', 'off')", name="replay_rule"),
    CheckConstraint(
        "algorithm IN ('tdes-2key', 'aes-128', 'aes-192', 'aes-256', 'device-aead')",
        name="algorithm",
    ),
    Index(
        "base_derivation_keys_one_prefix_idx",
        "ksn_prefix",
        unique=True,
        postgresql_where=text("retired_at IS NULL"),
    ),
)

devices = Table(
    "devices",
    metadata,
    Column("merchant_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("bdk_id", Text),
    Column("state", Text, nullable=False),
    Column("profile", JSONB, nullable=False),
    Column("initial_key_ids", ARRAY(LargeBinary), nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("serial", Text),
    Column("make", Text),
    Column("model", Text),
    Column("firmware", Text),
    Column("profile_name", Text),
    Column("state_changed_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("state_reason", Text, nullable=False, server_default=text("''")),
    CheckConstraint(
        "state IN ('registered', 'active', 'suspended', 'stolen', 'retired')", name="state"
    ),
)

device_initial_keys = Table(
    "device_initial_keys",
    metadata,
    Column("bdk_id", Text, primary_key=True),
    Column("initial_key_id", LargeBinary, primary_key=True),
    Column("merchant_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("bound_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("high_water", BigInteger),
    # Bit n from the left stands for the counter high_water - n.
    Column("seen", BIT(1024)),
    Column("first_seen_at", _time),
    Column("last_seen_at", _time),
    Column("tokens", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("(high_water IS NULL) = (seen IS NULL)", name="seen"),
    Index("device_initial_keys_device_idx", "merchant_id", "device_id"),
    # Every read changes its terminal's row: there is room on the page for the next version.
    postgresql_with={
        "fillfactor": "50",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
    },
)

# An operator's own, beside the built-in ones. A registration keeps a copy of its profile.
device_profiles = Table(
    "device_profiles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("profile", JSONB, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.clock_timestamp()),
)

# Payloads that did not decrypt, by who sent them and under which KSN.
failed_attempts = Table(
    "failed_attempts",
    metadata,
    Column("api_key_id", Text, primary_key=True),
    Column("ksn", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", _time, nullable=False),
    Index(None, "last_at"),
)

# What terminals did that an operator should hear of. Equal events of a minute are one row, which counts them; its times are the
# database's, and ``ksn`` and ``detail`` those of the first.
device_events = Table(
    "device_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "minute",
        _time,
        nullable=False,
        server_default=text("date_trunc('minute', clock_timestamp())"),
    ),
    Column("kind", Text, nullable=False),
    Column("merchant_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("ksn", Text, nullable=False),
    Column("api_key_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("occurred_at", _time, nullable=False, server_default=func.clock_timestamp()),
    Column("last_at", _time, nullable=False, server_default=func.clock_timestamp()),
    CheckConstraint(
        "octet_length(kind || merchant_id || device_id || ksn || api_key_id || detail) <= 1024",
        name="texts",
    ),
    # The minute comes first: what is old is found by it, and deleted.
    UniqueConstraint(
        "minute",
        "merchant_id",
        "kind",
        "device_id",
        "api_key_id",
        name="device_events_once_a_minute_key",
    ),
    Index("device_events_merchant_id_idx", "merchant_id", "event_id"),
    postgresql_with={"autovacuum_vacuum_scale_factor": "0.05"},
)

# How often the payloads of a registered terminal did not decrypt, second by second. UNLOGGED: after a crash of the database
# the count begins anew.
device_failures = Table(
    "device_failures",
    metadata,
    Column("merchant_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column(
        "second",
        _time,
        primary_key=True,
        server_default=text("date_trunc('second', clock_timestamp())"),
    ),
    Column("failures", BigInteger, nullable=False),
    Index(None, "second"),
    prefixes=["UNLOGGED"],
)
