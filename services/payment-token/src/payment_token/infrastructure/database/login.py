"""What the login of a deployment may do in its database, and what of it is too little or too much."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.infrastructure.database.privileges import (
    INGEST,
    MAINTAINER,
    NEEDS,
    OWNED,
    TABLES,
    VERBS,
    Privileges,
    beyond,
    needed_by,
)

logger = logging.getLogger(__name__)

_SESSION = "-c statement_timeout=10s -c lock_timeout=2s"

# Partitions under the name of their table: who reaches one by its own name goes past what is granted on the table.
_HELD: LiteralString = """
WITH known AS (
    SELECT oid, relname::text AS name, false AS is_partition FROM pg_class
     WHERE relname = ANY (%(tables)s) AND relnamespace = current_schema()::regnamespace
     UNION ALL
    SELECT inhrelid, parent.relname::text, true FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
     WHERE parent.relname = ANY (%(tables)s) AND parent.relkind = 'p'
       AND parent.relnamespace = current_schema()::regnamespace
)
SELECT DISTINCT name, is_partition, verb, "column"
  FROM known CROSS JOIN unnest(%(verbs)s::text[]) AS verb, LATERAL (
       SELECT NULL::text AS "column" WHERE has_table_privilege(oid, verb)
        UNION ALL
       SELECT attname::text FROM pg_attribute
        WHERE attrelid = known.oid AND attnum > 0 AND NOT attisdropped AND NOT has_table_privilege(known.oid, verb)
          AND CASE WHEN verb IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                   THEN has_column_privilege(known.oid, attnum, verb) END) AS held
"""

_OTHER_ROLES: LiteralString = """
SELECT rolname::text FROM pg_roles
 WHERE rolname = ANY (%s) AND pg_has_role(oid, 'MEMBER') ORDER BY rolname
"""

_MAY_MAINTAIN: LiteralString = """
SELECT pg_has_role(relowner, 'MEMBER') AND has_schema_privilege(relowner, relnamespace, 'CREATE'),
       has_function_privilege('make_audit_partition(date)', 'EXECUTE')
  FROM pg_class WHERE oid = to_regclass('payment_tokens')
"""

# What is done to devices with the rights of their table's owner.
_OF_DEVICES = ("activate_device(text, text)", "suspend_device(text, text)")
_MAY_NOT_EXECUTE: LiteralString = """
SELECT 'EXECUTE on ' || name FROM unnest(%s::text[]) AS name
 WHERE has_function_privilege(to_regprocedure(name), 'EXECUTE') IS NOT TRUE
"""

_MAY_CREATE: LiteralString = (
    "SELECT current_schema()::text WHERE has_schema_privilege(current_schema(), 'CREATE')"
)

# Every way that does not lead over the triggers alone: an owner drops them, a superuser does not even need to.
_POWERS: LiteralString = """
WITH of_audit AS (
    SELECT oid, relowner FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace
       AND (relname IN ('decrypt_audit_log', 'decrypt_audit_log_unchained', 'audit_seals', 'audit_tiles')
            OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('decrypt_audit_log')))
)
SELECT says FROM pg_roles, LATERAL (VALUES
       (rolsuper, 'is a superuser'),
       (NOT rolsuper AND rolcreaterole AND current_setting('server_version_num')::int < 160000,
        'may make roles, and so give itself any'),
       (NOT rolsuper AND EXISTS (SELECT FROM of_audit WHERE pg_has_role(relowner, 'MEMBER')),
        'owns the audit log, or belongs to the role that does'),
       (NOT rolsuper AND EXISTS (SELECT FROM pg_namespace WHERE nspname = current_schema()
                                    AND pg_has_role(nspowner, 'MEMBER')),
        'owns the schema, and may drop what is in it'),
       (NOT rolsuper AND EXISTS (SELECT FROM pg_roles AS power WHERE pg_has_role(power.oid, 'MEMBER')
                AND power.rolname IN ('pg_execute_server_program', 'pg_write_server_files')),
        'may run programs or write files on the server of the database'),
       (NOT rolsuper AND EXISTS (SELECT FROM of_audit
                WHERE NOT pg_has_role(relowner, 'USAGE')
                  AND (has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
                       OR has_any_column_privilege(oid, 'UPDATE'))),
        'may UPDATE, DELETE or TRUNCATE the audit log, or put triggers on it')) AS power (has, says)
 WHERE rolname = current_user AND has
"""


@dataclass(frozen=True, slots=True)
class LoginReport:
    """``powers`` are ways to change what stands in the audit log; ``excess`` is whatever else the roles do not need."""

    name: str
    missing: Sequence[str]
    excess: Sequence[str]
    powers: Sequence[str]


class PostgresLogin:
    """Connects anew for each question. Raises DatabaseUnavailableError."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def powers(self) -> Sequence[str]:
        """How it may change the audit log; empty where it may not."""
        return (await self._ask(())).powers

    async def report(self, roles: Collection[str]) -> LoginReport:
        """Held against what these roles of the database need together."""
        return await self._ask(roles)

    async def _ask(self, roles: Collection[str]) -> LoginReport:
        try:
            async with await AsyncConnection.connect(
                self._url,
                autocommit=True,
                options=_SESSION,
                connect_timeout=5,
                application_name="payment-token login",
            ) as connection:
                return await _report(connection, roles)
        except psycopg.Error as error:
            logger.warning("database error", extra={"sqlstate": error.sqlstate or "connection"})
        raise DatabaseUnavailableError


async def _report(connection: AsyncConnection, roles: Collection[str]) -> LoginReport:
    (name,) = await _texts(connection, "SELECT current_user::text")
    powers = await _texts(connection, _POWERS)
    if not roles:
        return LoginReport(name, (), (), powers)
    held, of_partitions = await _held(connection)
    others = await _texts(connection, _OTHER_ROLES, [role for role in NEEDS if role not in roles])
    missing = beyond(needed_by(roles), held)
    excess = [f"is a member of {role}" for role in others]
    # What comes with those roles is said already.
    excess += [f"may {what}" for what in beyond(held, needed_by([*roles, *others]))]
    owned = {OWNED[role] for role in (*roles, *others) if role in OWNED}
    excess += [
        f"may {what} itself, past its table"
        for what in beyond(of_partitions, {})
        if what.partition(" on a partition of ")[2] not in owned
    ]
    if INGEST in roles:
        missing += await _texts(connection, _MAY_NOT_EXECUTE, list(_OF_DEVICES))
    if MAINTAINER in roles:
        missing += await _missing_to_maintain(connection)
    elif MAINTAINER not in others and await _texts(connection, _MAY_CREATE):
        excess.append("may create objects in the schema (REVOKE CREATE ON SCHEMA … FROM PUBLIC)")
    is_superuser = "is a superuser" in powers
    return LoginReport(name, missing, () if is_superuser else excess, powers)


async def _held(connection: AsyncConnection) -> tuple[Privileges, Privileges]:
    """On the tables, and on partitions of them."""
    cursor = await connection.execute(_HELD, {"tables": TABLES, "verbs": list(VERBS)})
    on_tables: Privileges = {}
    on_partitions: Privileges = {}
    for table, is_partition, verb, column in await cursor.fetchall():
        where = on_partitions if is_partition else on_tables
        name = (f"a partition of {table}" if is_partition else table, verb)
        known = where.get(name, frozenset())
        where[name] = None if column is None or known is None else known | {column}
    return on_tables, on_partitions


async def _missing_to_maintain(connection: AsyncConnection) -> list[str]:
    cursor = await connection.execute(_MAY_MAINTAIN)
    owns, makes_months = await cursor.fetchone() or (False, False)
    missing = []
    if not owns:
        missing.append(
            "membership in the role that owns payment_tokens, which may create in the schema"
        )
    if not makes_months:
        missing.append("EXECUTE on make_audit_partition(date)")
    return missing


async def _texts(
    connection: AsyncConnection, query: LiteralString, *parameters: object
) -> list[str]:
    cursor = await connection.execute(query, parameters or None)
    return [value for (value,) in await cursor.fetchall()]
