"""Who may do what: each role by each table, partitions included, by each verb. This table says it; the database is asked.

Then the statements themselves are tried, for the audit log, which nobody changes.
"""

from collections.abc import Iterator

import psycopg
import pytest

ROLES = ("ingest", "vault", "rotator", "sealer", "maintainer", "auditor")

# (S)ELECT (I)NSERT (U)PDATE (D)ELETE (T)RUNCATE (R)EFERENCES trig(G)er; a small letter: only the columns listed below.
MATRIX = """
                                  ingest   vault    rotator  sealer   maintainer  auditor
    payment_tokens                SIu      Su       su       .        SIUDTRG     .
    a partition of payment_tokens .        .        .        .        SIUDTRG     .
    token_idempotency_keys        SIu      .        s        .        SuD         .
    encryption_keys               S        S        SIu      S        .           s
    key_events                    .        .        SI       .        .           S
    key_holders                   SIuD     SIuD     S        .        .           .
    sad_epoch_keys                SIT      SIT      Su       .        .           .
    api_keys                      S        .        SIu      .        .           .
    api_key_uses                  SIu      .        S        .        .           .
    api_key_permits               SIu      .        .        .        .           .
    base_derivation_keys          S        .        SIu      .        .           .
    devices                       SIu      .        SIu      .        .           .
    device_initial_keys           SIu      .        SIu      .        .           .
    device_profiles               S        .        SID      .        .           .
    failed_attempts               SIu      .        SD       .        SD          .
    decrypt_audit_log             i        i        i        S        i           Si
    a month of the audit log      .        .        .        .        .           .
    decrypt_audit_log_unchained   .        .        .        .        .           S
    audit_records                 .        .        .        .        .           S
    audit_seals                   s        s        s        SI       s           S
    audit_tiles                   .        .        .        SI       .           S
    audit_chains                  .        .        .        SIU      .           S
    audit_holds                   .        .        .        .        .           Si
    audit_exports                 .        .        .        .        .           S
    worker_limit_windows          .        SIu      .        .        SD          .
    worker_token_uses             .        SI       .        .        SD          .
    device_events                 Siu      siu      Siu      .        SD          S
    device_failures               Siu      .        .        .        SD          .
    alembic_version               S        S        S        S        S           S
"""

_RECORD = {"writer_id", "sequence", "record"}
_HEAD = {"tree_size", "root", "sealed_at"}
_EVENT = {"kind", "merchant_id", "device_id", "ksn", "api_key_id", "detail", "count"}
_COUNTED_UP = {"count", "last_at"}
COLUMNS = {
    ("ingest", "device_events", "i"): _EVENT,
    ("ingest", "device_events", "u"): _COUNTED_UP,
    ("ingest", "device_failures", "i"): {"merchant_id", "device_id", "failures"},
    ("ingest", "device_failures", "u"): {"failures"},
    ("vault", "device_events", "s"): {
        "minute",
        "kind",
        "merchant_id",
        "device_id",
        "api_key_id",
        "count",
    },
    ("vault", "device_events", "i"): _EVENT,
    ("vault", "device_events", "u"): _COUNTED_UP,
    ("rotator", "device_events", "i"): _EVENT,
    ("rotator", "device_events", "u"): _COUNTED_UP,
    ("ingest", "payment_tokens", "u"): {
        "status",
        "revoked_at",
        "sealed_pan",
        "sealed_sad",
        "sad_destroyed_at",
    },
    ("vault", "payment_tokens", "u"): {
        "status",
        "sealed_sad",
        "sad_destroyed_at",
        "sad_unrecoverable_from",
    },
    ("rotator", "payment_tokens", "s"): {
        "merchant_id",
        "purge_day",
        "token_id",
        "expires_at",
        "service_key",
        "sealed_pan",
    },
    ("rotator", "payment_tokens", "u"): {"service_key", "sealed_pan"},
    ("ingest", "token_idempotency_keys", "u"): {
        "token_id",
        "fingerprint",
        "fingerprint_key",
        "created_at",
        "expires_at",
    },
    ("rotator", "token_idempotency_keys", "s"): {"fingerprint_key", "expires_at"},
    ("maintainer", "token_idempotency_keys", "u"): {"created_at"},
    ("rotator", "encryption_keys", "u"): {
        "state",
        "kms_key_id",
        "wrapped_key",
        "activated_at",
        "retired_at",
        "destruction_due_at",
        "destroyed_at",
    },
    ("auditor", "encryption_keys", "s"): {
        "purpose",
        "version",
        "state",
        "kms_key_id",
        "environment",
        "created_at",
        "activated_at",
        "public_key",
        "retired_at",
        "destruction_due_at",
        "destroyed_at",
    },
    ("vault", "worker_limit_windows", "u"): {"window_end", "used"},
    ("ingest", "key_holders", "u"): {"held", "lease_until"},
    ("vault", "key_holders", "u"): {"held", "lease_until"},
    ("rotator", "sad_epoch_keys", "u"): {"kms_key_id", "wrapped_key"},
    ("rotator", "api_keys", "u"): {"revoked_at", "expires_at", "replaced_by"},
    ("ingest", "api_key_uses", "u"): {"last_used_at"},
    ("ingest", "api_key_permits", "u"): {"spent_until", "granted"},
    ("rotator", "base_derivation_keys", "u"): {"retired_at", "replay_rule"},
    ("ingest", "devices", "u"): {"state", "state_changed_at", "state_reason"},
    ("rotator", "devices", "u"): {
        "initial_key_ids",
        "state",
        "state_changed_at",
        "state_reason",
    },
    ("ingest", "device_initial_keys", "u"): {
        "high_water",
        "seen",
        "first_seen_at",
        "last_seen_at",
        "tokens",
    },
    ("rotator", "device_initial_keys", "u"): {"high_water", "seen"},
    ("ingest", "failed_attempts", "u"): {"failures", "last_at"},
    ("ingest", "decrypt_audit_log", "i"): _RECORD,
    ("vault", "decrypt_audit_log", "i"): _RECORD,
    ("rotator", "decrypt_audit_log", "i"): _RECORD,
    ("maintainer", "decrypt_audit_log", "i"): _RECORD,
    ("auditor", "decrypt_audit_log", "i"): _RECORD,
    ("auditor", "audit_holds", "i"): {
        "hold_id",
        "reason",
        "placed_by",
        "first_month",
        "last_month",
    },
    ("ingest", "audit_seals", "s"): _HEAD,
    ("vault", "audit_seals", "s"): _HEAD,
    ("rotator", "audit_seals", "s"): _HEAD,
    ("maintainer", "audit_seals", "s"): _HEAD,
}

VERBS = {
    "S": "SELECT",
    "I": "INSERT",
    "U": "UPDATE",
    "D": "DELETE",
    "T": "TRUNCATE",
    "R": "REFERENCES",
    "G": "TRIGGER",
}
_OF_COLUMNS = "SIUR"

_TABLES = """
SELECT pg_class.oid, CASE parent.relname WHEN 'payment_tokens' THEN 'a partition of payment_tokens'
                                         WHEN 'decrypt_audit_log' THEN 'a month of the audit log'
                                         ELSE pg_class.relname END
  FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent
 WHERE pg_class.relnamespace = 'public'::regnamespace AND pg_class.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_ON_TABLE = "SELECT has_table_privilege(%s, %s::oid, %s)"
_ON_COLUMNS = """
SELECT attname FROM pg_attribute
 WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped AND has_column_privilege(%(role)s, attrelid, attnum, %(verb)s)
"""


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def expected() -> dict[str, dict[str, str]]:
    """By table and role, the letters."""
    head, *lines = [line for line in MATRIX.splitlines() if line.strip()]
    assert tuple(head.split()) == ROLES
    rows = [line.rsplit(maxsplit=len(ROLES)) for line in lines]
    return {name.strip(): dict(zip(ROLES, cells, strict=True)) for name, *cells in rows}


def found(database: psycopg.Connection, role: str, table: int) -> tuple[str, dict[str, set[str]]]:
    """The letters, and the columns of the small ones."""
    letters, of_columns = "", {}
    for letter, verb in VERBS.items():
        if database.execute(_ON_TABLE, (f"pt_{role}", table, verb)).fetchone() == (True,):
            letters += letter
        elif letter in _OF_COLUMNS:
            names = {"table": table, "role": f"pt_{role}", "verb": verb}
            columns = {name for (name,) in database.execute(_ON_COLUMNS, names)}
            if columns:
                letters += letter.lower()
                of_columns[letter.lower()] = columns
    return letters or ".", of_columns


@pytest.mark.parametrize("role", ROLES)
def test_every_privilege_on_every_table(database: psycopg.Connection, role: str) -> None:
    tables = database.execute(_TABLES).fetchall()
    matrix = expected()
    assert {name for _, name in tables} == set(matrix), "each table stands in the matrix"
    assert sum(name == "a month of the audit log" for _, name in tables) == 14

    for table, name in tables:
        letters, of_columns = found(database, role, table)
        assert letters == matrix[name][role], name
        assert of_columns == {
            letter: COLUMNS[role, name, letter] for letter in letters if letter.islower()
        }, name


def test_the_roles_may_nothing_else(database: psycopg.Connection) -> None:
    names = [f"pt_{role}" for role in ROLES]
    granted = database.execute(
        "SELECT r.rolname FROM pg_roles AS r WHERE r.rolname = ANY (%s)"
        " AND has_function_privilege(r.oid, 'make_audit_partition(date)', 'EXECUTE')",
        (names,),
    ).fetchall()
    creating = database.execute(
        "SELECT r.rolname FROM pg_roles AS r WHERE r.rolname = ANY (%s)"
        " AND (has_schema_privilege(r.oid, 'public', 'CREATE') OR has_database_privilege(r.oid, current_database(), 'CREATE'))",
        (names,),
    ).fetchall()
    owning = database.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class"
        " WHERE relname ~ '^(decrypt_audit|audit_)' AND relnamespace = 'public'::regnamespace"
    ).fetchall()

    suspending = database.execute(
        "SELECT r.rolname FROM pg_roles AS r WHERE r.rolname = ANY (%s)"
        " AND has_function_privilege(r.oid, 'suspend_device(text, text)', 'EXECUTE')",
        (names,),
    ).fetchall()

    assert granted == [("pt_maintainer",)]
    assert suspending == [("pt_ingest",)]
    assert creating == [("pt_maintainer",)]
    assert owning == [("postgres",)]


_MONTH = "decrypt_audit_log_{month}"
_VALUES = "VALUES (gen_random_uuid(), 0, '{{}}')"
_INSERT = "INSERT INTO decrypt_audit_log (writer_id, sequence, record) " + _VALUES

# What nobody may, not one of the roles.
NOBODY = (
    "UPDATE decrypt_audit_log SET record = '{{}}'",
    "DELETE FROM decrypt_audit_log",
    "TRUNCATE decrypt_audit_log",
    "INSERT INTO decrypt_audit_log (writer_id, sequence, record, recorded_at) SELECT gen_random_uuid(), 0, '{{}}', now()",
    "INSERT INTO decrypt_audit_log (writer_id, sequence, record, month) SELECT gen_random_uuid(), 0, '{{}}', '{first}'",
    _INSERT + " ON CONFLICT (writer_id, sequence, month) DO UPDATE SET record = excluded.record",
    f"SELECT FROM {_MONTH}",
    f"INSERT INTO {_MONTH} (writer_id, sequence, record) {_VALUES}",
    f"UPDATE {_MONTH} SET record = '{{{{}}}}'",
    f"DELETE FROM {_MONTH}",
    f"TRUNCATE {_MONTH}",
    f"DROP TABLE {_MONTH}",
    f"ALTER TABLE decrypt_audit_log DETACH PARTITION {_MONTH}",
    "ALTER TABLE decrypt_audit_log DISABLE TRIGGER append_only",
    f"ALTER TABLE {_MONTH} DISABLE TRIGGER append_only",
    "DROP TRIGGER append_only ON decrypt_audit_log",
    "CREATE TRIGGER mine BEFORE INSERT ON decrypt_audit_log FOR EACH ROW EXECUTE FUNCTION is_append_only()",
    "CREATE OR REPLACE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "DROP TABLE decrypt_audit_log",
    "ALTER TABLE decrypt_audit_log OWNER TO CURRENT_USER",
    "UPDATE audit_seals SET root = ''",
    "DELETE FROM audit_seals",
    "TRUNCATE audit_tiles",
    "UPDATE audit_tiles SET hashes = ''",
    "DELETE FROM decrypt_audit_log_unchained",
    "SET session_replication_role = replica",
    "UPDATE audit_holds SET released_at = now()",
    "DELETE FROM audit_holds",
    "UPDATE audit_exports SET verified_at = now()",
    "INSERT INTO audit_exports (month) VALUES ('{first}')",
)

# What some may.
SOME = {
    _INSERT: ("ingest", "vault", "rotator", "maintainer", "auditor"),
    _INSERT + " RETURNING record": ("auditor",),
    "SELECT record FROM decrypt_audit_log": ("sealer", "auditor"),
    "SELECT count(*) FROM decrypt_audit_log": ("sealer", "auditor"),
    "SELECT record FROM audit_records": ("auditor",),
    "SELECT FROM decrypt_audit_log_unchained": ("auditor",),
    "SELECT tree_size, root, sealed_at FROM audit_seals": ROLES,
    "SELECT checkpoint FROM audit_seals": ("sealer", "auditor"),
    "INSERT INTO audit_tiles VALUES (0, 0, repeat('a', 8192)::bytea)": ("sealer",),
    "INSERT INTO audit_seals VALUES (1, 0, '', now(), '{{}}', '{{}}', '{{}}', '', '')": ("sealer",),
    "UPDATE audit_chains SET ended = true": ("sealer",),
    "SELECT make_audit_partition('2031-05-01')": ("maintainer",),
    "SELECT wrapped_key FROM encryption_keys": ("ingest", "vault", "rotator", "sealer"),
    "SELECT public_key FROM encryption_keys": ("ingest", "vault", "rotator", "sealer", "auditor"),
}


@pytest.mark.parametrize("role", ROLES)
def test_what_is_tried_on_the_audit_log(database: psycopg.Connection, role: str) -> None:
    database.execute(_INSERT.format())
    ((month, first),) = database.execute(
        "SELECT to_char(month, 'YYYY_MM'), month FROM decrypt_audit_log"
    ).fetchall()
    for statement in (*NOBODY, *SOME):
        if role in SOME.get(statement, ()):
            _try(database, role, statement.format(month=month, first=first))
            continue
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _try(database, role, statement.format(month=month, first=first))
    # Nothing of it is left, whoever tried.
    assert database.execute("SELECT count(*) FROM decrypt_audit_log").fetchone() == (1,)


def _try(database: psycopg.Connection, role: str, statement: str) -> None:
    with database.transaction(force_rollback=True):
        database.execute(f"SET LOCAL ROLE pt_{role}")
        database.execute(statement)


_TOKEN = """
INSERT INTO payment_tokens
       (merchant_id, purge_day, token_id, status, created_at, expires_at, card_brand, card_bin, card_last4, card_entry_mode,
        card_luhn, card_expired, card_expiry_valid, metadata, device_id, bdk_id, service_key, revoked_at, sealed_pan)
VALUES ('m', (now() AT TIME ZONE 'UTC')::date + 1, %s, %s, now(), now(), '', '', '', '', true, true, true, '{}', '', '', '',
        %s, %s)
"""


def test_the_column_that_the_vault_may_write_cannot_be_changed_by_it(
    database: psycopg.Connection,
) -> None:
    database.execute(_TOKEN, ("active", "active", None, b"sealed"))
    database.execute(_TOKEN, ("revoked", "revoked", "2026-01-01", None))

    _try(database, "vault", "SELECT FROM payment_tokens FOR SHARE")
    for changed, row in (("revoked", "active"), ("active", "revoked"), ("paused", "active")):
        with pytest.raises(psycopg.errors.CheckViolation):
            _try(
                database,
                "vault",
                f"UPDATE payment_tokens SET status = '{changed}' WHERE token_id = '{row}'",
            )
    for statement in (
        "UPDATE payment_tokens SET sealed_pan = NULL",
        "UPDATE payment_tokens SET expires_at = 'infinity'",
        "DELETE FROM payment_tokens",
        "INSERT INTO payment_tokens SELECT * FROM payment_tokens",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _try(database, "vault", statement)


def test_the_maintainer_cannot_have_its_own_code_run_as_the_owner_of_the_log(
    database: psycopg.Connection,
) -> None:
    """It may create functions in the schema, and call one that runs as the owner of the audit log."""
    with database.transaction():
        database.execute("SET LOCAL ROLE pt_maintainer")
        for name, arguments, result in (
            ("to_char", "date, text", "text"),
            ("date_trunc", "text, date", "date"),
        ):
            database.execute(
                f"CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql"
                " AS 'BEGIN RAISE EXCEPTION ''run as %'', current_user; END'"
            )
        made = database.execute("SELECT make_audit_partition('2031-05-01')").fetchone()

    assert made == (True,)
    ((owner, acl),) = database.execute(
        "SELECT pg_get_userbyid(relowner)::text, relacl FROM pg_class WHERE relname = 'decrypt_audit_log_2031_05'"
    ).fetchall()
    assert (owner, acl) == ("postgres", None)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        database.execute("TRUNCATE decrypt_audit_log_2031_05")
