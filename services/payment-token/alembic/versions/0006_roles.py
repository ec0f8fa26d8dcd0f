"""A database role for each kind of process, with what it needs and no more; payment_tokens belongs to the maintainer.

Revision: 0006, after 0005. Phase: pre. What an operator granted before stays as it is.

The roles are of the whole server: they are made where they are absent, and never dropped. A login that may not make roles
is told what somebody who may has to run. Interrupted, start it again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic.util import CommandError

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PARTITIONS_IN_ONE_TRANSACTION = 50

_SCHEMA_VERSION = {"alembic_version": "SELECT"}
_LEASE = {"key_holders": "SELECT, INSERT, UPDATE (held, lease_until), DELETE"}
# Dead epoch keys are buried by TRUNCATE, and whoever holds a live one writes it back.
_EPOCH_KEYS = {"sad_epoch_keys": "SELECT, INSERT, TRUNCATE"}
# Month and time are the database's: a writer gives neither.
_RECORDING = {
    "decrypt_audit_log": "INSERT (writer_id, sequence, record)",
    "audit_seals": "SELECT (tree_size, root, sealed_at)",
}

_GRANTS = {
    "pt_ingest": {
        **_SCHEMA_VERSION,
        **_LEASE,
        **_EPOCH_KEYS,
        **_RECORDING,
        "payment_tokens": (
            "SELECT, INSERT, UPDATE (status, revoked_at, sealed_pan, sealed_sad, sad_destroyed_at)"
        ),
        "token_idempotency_keys": (
            "SELECT, INSERT, UPDATE (token_id, fingerprint, fingerprint_key, created_at, expires_at)"
        ),
        "device_initial_keys": "SELECT, INSERT",
        "devices": "SELECT",
        "base_derivation_keys": "SELECT",
        "api_keys": "SELECT",
        "encryption_keys": "SELECT",
    },
    "pt_vault": {
        **_SCHEMA_VERSION,
        **_LEASE,
        **_EPOCH_KEYS,
        **_RECORDING,
        # A share lock on a row asks for UPDATE of some column. This one it cannot change: the checks of the table tie the
        # status to revoked_at, so that neither an active token can be revoked by it, nor a revoked one revived.
        "payment_tokens": "SELECT, UPDATE (status)",
        "encryption_keys": "SELECT",
    },
    "pt_rotator": {
        **_SCHEMA_VERSION,
        **_RECORDING,
        "encryption_keys": (
            "SELECT, INSERT, UPDATE (state, kms_key_id, wrapped_key, activated_at, retired_at, destruction_due_at,"
            " destroyed_at)"
        ),
        "key_events": "SELECT, INSERT",
        "key_holders": "SELECT",
        "sad_epoch_keys": "SELECT, UPDATE (kms_key_id, wrapped_key)",
        "payment_tokens": (
            "SELECT (merchant_id, purge_day, token_id, expires_at, service_key, sealed_pan),"
            " UPDATE (service_key, sealed_pan)"
        ),
        "token_idempotency_keys": "SELECT (fingerprint_key, expires_at)",
        "base_derivation_keys": "SELECT, INSERT, UPDATE (retired_at)",
        "devices": "SELECT, INSERT, UPDATE (initial_key_ids)",
        "device_initial_keys": "SELECT, INSERT",
        "api_keys": "SELECT, INSERT, UPDATE (revoked_at)",
    },
    "pt_sealer": {
        **_SCHEMA_VERSION,
        "decrypt_audit_log": "SELECT",
        "audit_seals": "SELECT, INSERT",
        "audit_tiles": "SELECT, INSERT",
        "audit_chains": "SELECT, INSERT, UPDATE",
        "encryption_keys": "SELECT",
    },
    "pt_maintainer": {
        **_SCHEMA_VERSION,
        **_RECORDING,
        # It deletes; a lock on the rows before asks for UPDATE of some column, and nothing reads this one.
        "token_idempotency_keys": "SELECT, UPDATE (created_at), DELETE",
    },
    "pt_auditor": {
        **_SCHEMA_VERSION,
        "decrypt_audit_log": "SELECT, INSERT (writer_id, sequence, record)",
        "decrypt_audit_log_unchained": "SELECT",
        # A view reads with its owner's rights: whoever may read the view reads the log.
        "audit_records": "SELECT",
        "audit_seals": "SELECT",
        "audit_tiles": "SELECT",
        "audit_chains": "SELECT",
        "key_events": "SELECT",
        # All but the wrapped keys.
        "encryption_keys": (
            "SELECT (purpose, version, state, kms_key_id, environment, created_at, activated_at, public_key, retired_at,"
            " destruction_due_at, destroyed_at)"
        ),
    },
}

# Somebody else's migration may make the same role at the same moment.
_MAKE_ROLE = """
DO $$
BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$
"""

# With the owner's rights at hand, and not only by SET ROLE: later migrations change payment_tokens.
_IS_MEMBER = "SELECT pg_has_role(current_user, 'pt_maintainer', 'USAGE')"

_BECOME_MEMBER = """
DO $$
BEGIN
    EXECUTE format('GRANT pt_maintainer TO %I', current_user);
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN
    NULL;
END
$$
"""

_MAY_IN_SCHEMA = "SELECT has_schema_privilege(:role, current_schema(), :privilege)"

_GRANT_IN_SCHEMA = """
DO $$
BEGIN
    EXECUTE format('GRANT {privilege} ON SCHEMA %I TO {role}', current_schema());
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$$
"""

# Partitions, and what was one when maintenance was interrupted.
_PARTITIONS_OF_OTHERS = """
SELECT oid::regclass::text FROM pg_class
 WHERE relkind = 'r' AND relname ~ '^payment_tokens_\\d{4}_\\d\\d_\\d\\d$'
   AND relnamespace = current_schema()::regnamespace AND pg_get_userbyid(relowner) <> :owner
 ORDER BY relname
"""

# As in 0005, but that nothing of the schema is found by its bare name. The maintainer may create there, and a function of
# its own, to_char(date, text) for example, would run with the rights of the owner of the audit log.
_MAKE_PARTITION = """
CREATE OR REPLACE FUNCTION make_audit_partition(first_day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := 'decrypt_audit_log_' || to_char(first_day, 'YYYY_MM');
    place text := format('%s.%I', {schema_text}, name);
BEGIN
    IF first_day <> date_trunc('month', first_day) THEN
        RAISE EXCEPTION 'a partition begins on the first day of a month';
    END IF;
    IF EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = '{schema}.decrypt_audit_log'::regclass AND inhrelid = to_regclass(place)) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %s (LIKE {schema}.decrypt_audit_log INCLUDING ALL)'
                   ' WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.02)', place);
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION {schema}.is_append_only()', place);
    EXECUTE format('ALTER TABLE {schema}.decrypt_audit_log ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                   place, first_day, (first_day + interval '1 month')::date);
    RETURN true;
END
$$
"""


def upgrade() -> None:
    # Each at once: a role that waits for the end of a long transaction would hold up everybody else's migration.
    with op.get_context().autocommit_block():
        _make_roles()
        _let_maintainer_own()
        _give_partitions_to("pt_maintainer")
    op.execute("ALTER TABLE payment_tokens OWNER TO pt_maintainer")
    _give_partitions_to("pt_maintainer")
    op.execute(_make_partition())
    for role, grants in _GRANTS.items():
        for table, privileges in grants.items():
            op.execute(f"GRANT {privileges} ON {table} TO {role}")
    op.execute("GRANT EXECUTE ON FUNCTION make_audit_partition(date) TO pt_maintainer")


def downgrade() -> None:
    """The function stays the safer one."""
    owner = _scalar("SELECT current_user::text")
    with op.get_context().autocommit_block():
        _give_partitions_to(owner)
    op.execute("ALTER TABLE payment_tokens OWNER TO CURRENT_USER")
    _give_partitions_to(owner)
    for role, grants in _GRANTS.items():
        for table in grants:
            op.execute(f"REVOKE ALL ON {table} FROM {role}")
    op.execute("REVOKE ALL ON FUNCTION make_audit_partition(date) FROM pt_maintainer")
    schema = _scalar("SELECT quote_ident(current_schema())")
    op.execute(f"REVOKE ALL ON SCHEMA {schema} FROM {', '.join(_GRANTS)}")


def _make_roles() -> None:
    known = set(op.get_bind().scalars(sa.text("SELECT rolname::text FROM pg_roles")))
    absent = [role for role in _GRANTS if role not in known]
    may = _scalar("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    if absent and not may:
        raise CommandError(
            "this login may not make the roles of the service, and some are not there. Let a superuser run: "
            + " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in absent)
            + f" GRANT pt_maintainer TO {_scalar('SELECT quote_ident(current_user)')};"
        )
    for role in absent:
        op.execute(_MAKE_ROLE.format(role=role))


def _let_maintainer_own() -> None:
    """What belongs to the maintainer, whoever migrates must be able to change."""
    if not _scalar(_IS_MEMBER):
        op.execute(_BECOME_MEMBER)
    if not _scalar(_IS_MEMBER):
        login = _scalar("SELECT quote_ident(current_user)")
        raise CommandError(
            "this login must be a member of pt_maintainer, and inherit its rights. Let a superuser run:"
            f" GRANT pt_maintainer TO {login}; ALTER ROLE {login} INHERIT;"
        )
    for role in _GRANTS:
        _allow_in_schema(role, "USAGE")
    _allow_in_schema("pt_maintainer", "CREATE")


def _allow_in_schema(role: str, privilege: str) -> None:
    asked = sa.text(_MAY_IN_SCHEMA).bindparams(role=role, privilege=privilege)
    if not op.get_bind().scalar(asked):
        op.execute(_GRANT_IN_SCHEMA.format(role=role, privilege=privilege))
    if not op.get_bind().scalar(asked):
        schema = _scalar("SELECT quote_ident(current_schema())")
        raise CommandError(
            "this login may not grant rights on the schema. Let its owner run:"
            f" GRANT {privilege} ON SCHEMA {schema} TO {role};"
        )


def _give_partitions_to(owner: str) -> None:
    query = sa.text(_PARTITIONS_OF_OTHERS).bindparams(owner=owner)
    partitions: Sequence[str] = op.get_bind().scalars(query).all()
    quoted = _scalar("SELECT quote_ident(:name)", name=owner)
    for start in range(0, len(partitions), _PARTITIONS_IN_ONE_TRANSACTION):
        some = partitions[start : start + _PARTITIONS_IN_ONE_TRANSACTION]
        op.execute(";".join(f"ALTER TABLE {name} OWNER TO {quoted}" for name in some))


def _make_partition() -> str:
    schema = _scalar("SELECT quote_ident(current_schema())")
    text = _scalar("SELECT quote_literal(quote_ident(current_schema()))")
    return _MAKE_PARTITION.format(schema=schema, schema_text=text)


def _scalar(query: str, **parameters: str):
    return op.get_bind().scalar(sa.text(query).bindparams(**parameters))
