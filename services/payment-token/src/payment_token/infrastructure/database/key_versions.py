"""The versions of keys in PostgreSQL, and their signed history. The contract is :mod:`payment_token.domain.key_life.ports`.

Whoever writes a record under a version holds a shared advisory lock of it; what ends a version takes it exclusively.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.rows import DictRow, dict_row

from payment_token.domain.key_life.key_event import SignedStatement
from payment_token.domain.key_life.version import (
    KeyLifeError,
    KeyPurpose,
    KeyState,
    KeyVersion,
)
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_ALL = "SELECT * FROM encryption_keys ORDER BY purpose, created_at, version"

_MAY_ADD = """
SELECT has_table_privilege('encryption_keys', 'INSERT') AND has_table_privilege('key_events', 'INSERT')
"""

_PUBLIC_KEYS = """
SELECT public_key FROM encryption_keys WHERE purpose = 'audit-signing' AND public_key IS NOT NULL
 ORDER BY created_at, version
"""

_INSERT = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment, activated_at, public_key)
VALUES (%(purpose)s, %(version)s, %(state)s, %(kms_key_id)s, %(wrapped_key)s, %(environment)s, %(activated_at)s,
        %(public_key)s)
    ON CONFLICT DO NOTHING
"""

# One process makes the first version; the others wait here and then find it.
_LOCK_FIRST_VERSION = "SELECT pg_advisory_xact_lock(hashtextextended('first-key:' || %s, 0))"

_LOCK_VERSION = "SELECT pg_advisory_xact_lock(hashtextextended(%s || '-key:' || %s, 0))"

_LOCK_ATTEMPTS = 15
_LOCK_PAUSE_SECONDS = 0.5

_HOLDERS_WITHOUT = """
SELECT description FROM key_holders
 WHERE lease_until > clock_timestamp() AND NOT (%s || ':' || %s) = ANY (held)
 ORDER BY description
"""

_DEMOTE = """
UPDATE encryption_keys SET state = 'decrypt-only' WHERE purpose = %s AND state = 'active'
RETURNING version
"""

_PROMOTE = """
UPDATE encryption_keys SET state = 'active', activated_at = clock_timestamp()
 WHERE purpose = %s AND version = %s AND state = 'pending'
"""

_ROWS_UNDER: dict[KeyPurpose, LiteralString] = {
    KeyPurpose.SERVICE: "SELECT count(*) FROM payment_tokens WHERE service_key = %s AND sealed_pan IS NOT NULL",
    KeyPurpose.INDEX: """
        SELECT count(*) FROM token_idempotency_keys WHERE fingerprint_key = %s AND expires_at > clock_timestamp()
        """,
}

LET_IT_TAKE_ITS_TIME: LiteralString = "SET LOCAL statement_timeout = '15min'"
"""For a statement that reads a whole table: an operator waits for it, no request does."""

_RETIRE = """
UPDATE encryption_keys SET state = 'destroying', retired_at = clock_timestamp()
 WHERE purpose = %s AND version = %s AND state IN ('pending', 'decrypt-only')
"""

_SHARERS = """
SELECT * FROM encryption_keys
 WHERE kms_key_id = %s AND NOT (purpose = %s AND version = %s) AND wrapped_key IS NOT NULL
 ORDER BY purpose, version
"""

_MOVE = """
UPDATE encryption_keys SET kms_key_id = %s, wrapped_key = %s
 WHERE purpose = %s AND version = %s AND kms_key_id = %s AND wrapped_key = %s
"""

_BEGIN_DESTRUCTION = """
UPDATE encryption_keys
   SET wrapped_key = NULL, destruction_due_at = %(due_at)s,
       state = CASE WHEN %(due_at)s::timestamptz IS NULL THEN 'destroyed' ELSE 'destroying' END,
       destroyed_at = CASE WHEN %(due_at)s::timestamptz IS NULL THEN clock_timestamp() END
 WHERE purpose = %(purpose)s AND version = %(version)s AND state = 'destroying'
"""

_FINISH_DESTRUCTION = """
UPDATE encryption_keys SET state = 'destroyed', destroyed_at = clock_timestamp()
 WHERE purpose = %s AND version = %s AND state = 'destroying' AND wrapped_key IS NULL
"""

_RECORD = "INSERT INTO key_events (statement, signing_key, signature) VALUES (%s, %s, %s)"

_HISTORY = "SELECT statement, signing_key, signature FROM key_events ORDER BY event_id"


class PostgresKeyVersions:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self, purpose: KeyPurpose | None = None) -> Sequence[KeyVersion]:
        async with connection_of(self._pool) as connection:
            found = await _versions(connection, _ALL)
        return [version for version in found if purpose in (None, version.purpose)]

    async def may_add(self) -> bool:
        async with connection_of(self._pool) as connection:
            return await (await connection.execute(_MAY_ADD)).fetchone() == (True,)

    async def add_first(self, version: KeyVersion, statements: Sequence[SignedStatement]) -> None:
        async with connection_of(self._pool) as connection:
            await connection.execute(_LOCK_FIRST_VERSION, (version.purpose,))
            cursor = await connection.execute(
                "SELECT FROM encryption_keys WHERE purpose = %s LIMIT 1", (version.purpose,)
            )
            if cursor.rowcount == 0:
                await connection.execute(_INSERT, _row(version))
                for statement in statements:
                    await _record(connection, statement)

    async def add(self, version: KeyVersion, statement: SignedStatement) -> None:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_INSERT, _row(version))
            _check_one(cursor.rowcount, f"there is a {version.purpose} key {version.version}")
            await _record(connection, statement)

    async def holders_without(self, version: KeyVersion) -> Sequence[str]:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_HOLDERS_WITHOUT, (version.purpose, version.version))
            return [description for (description,) in await cursor.fetchall()]

    async def activate(self, version: KeyVersion, statement: SignedStatement) -> None:
        async with self._with_writers_out(
            version.purpose, await self._active(version)
        ) as connection:
            await connection.execute(_DEMOTE, (version.purpose,))
            cursor = await connection.execute(_PROMOTE, (version.purpose, version.version))
            _check_one(cursor.rowcount, f"the version {version.version} is not pending any more")
            await _record(connection, statement)

    async def rows_under(self, version: KeyVersion) -> int:
        async with connection_of(self._pool) as connection:
            return await _rows_under(connection, version)

    async def retire(self, version: KeyVersion, statement: SignedStatement) -> None:
        async with self._with_writers_out(version.purpose, version.version) as connection:
            rows = await _rows_under(connection, version)
            if rows:
                raise KeyLifeError(_rows_remain(version, rows))
            cursor = await connection.execute(_RETIRE, (version.purpose, version.version))
            _check_one(cursor.rowcount, f"{version.version} was changed meanwhile")
            await _record(connection, statement)

    async def sharers_of_kek(self, version: KeyVersion) -> Sequence[KeyVersion]:
        async with connection_of(self._pool) as connection:
            return await _versions(
                connection, _SHARERS, version.kek_uri, version.purpose, version.version
            )

    async def move(
        self, version: KeyVersion, kek_uri: str, wrapped_key: bytes, statement: SignedStatement
    ) -> None:
        row = (
            kek_uri,
            wrapped_key,
            version.purpose,
            version.version,
            version.kek_uri,
            version.wrapped_key,
        )
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_MOVE, row)
            _check_one(cursor.rowcount, f"the version {version.version} was changed meanwhile")
            await _record(connection, statement)

    async def begin_destruction(
        self, version: KeyVersion, due_at: datetime | None, statement: SignedStatement
    ) -> None:
        row = {"due_at": due_at, "purpose": version.purpose, "version": version.version}
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_BEGIN_DESTRUCTION, row)
            _check_one(cursor.rowcount, f"{version.version} was changed meanwhile")
            await _record(connection, statement)

    async def finish_destruction(self, version: KeyVersion, statement: SignedStatement) -> None:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(
                _FINISH_DESTRUCTION, (version.purpose, version.version)
            )
            _check_one(cursor.rowcount, f"{version.version} was changed meanwhile")
            await _record(connection, statement)

    async def record(self, statement: SignedStatement) -> None:
        async with connection_of(self._pool) as connection:
            await _record(connection, statement)

    async def history(self) -> Sequence[SignedStatement]:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_HISTORY)
            return [SignedStatement(*row) for row in await cursor.fetchall()]

    async def public_keys(self) -> Sequence[bytes]:
        """Of all versions that ever signed, the oldest first. An auditor may read these, and no wrapped key."""
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(_PUBLIC_KEYS)
            return [public_key for (public_key,) in await cursor.fetchall()]

    async def _active(self, version: KeyVersion) -> str:
        for known in await self.all(version.purpose):
            if known.state is KeyState.ACTIVE:
                return known.version
        return ""

    @asynccontextmanager
    async def _with_writers_out(
        self, purpose: KeyPurpose, version: str
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that no writer under the version overlaps: each has committed before, or will see the change."""
        async with connection_of(self._pool) as connection, connection.transaction():
            for _ in range(_LOCK_ATTEMPTS):
                if await _locked(connection, purpose, version):
                    yield connection
                    return
                await asyncio.sleep(_LOCK_PAUSE_SECONDS)
            raise KeyLifeError(f"a writer under {version} does not end: try again in a minute")


async def _locked(connection: AsyncConnection, purpose: KeyPurpose, version: str) -> bool:
    # While it waits, new writers under the version wait behind it. So it waits for half a second at a time, and a
    # writer that is stuck holds up nobody else for long; the database ends it after ten. The savepoint must be within
    # a transaction that is open already: a block on its own would end with the lock.
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '500ms'")
            await connection.execute(_LOCK_VERSION, (purpose, version))
    except LockNotAvailable:
        return False
    return True


async def _versions(
    connection: AsyncConnection, query: LiteralString, *parameters: str
) -> list[KeyVersion]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query, parameters)
    return [_version(row) for row in await cursor.fetchall()]


async def _rows_under(connection: AsyncConnection, version: KeyVersion) -> int:
    if version.purpose not in _ROWS_UNDER:
        return 0
    await connection.execute(LET_IT_TAKE_ITS_TIME)
    cursor = await connection.execute(_ROWS_UNDER[version.purpose], (version.version,))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _record(connection: AsyncConnection, statement: SignedStatement) -> None:
    await connection.execute(
        _RECORD, (statement.statement, statement.signing_key, statement.signature)
    )


def _check_one(rows: int, otherwise: str) -> None:
    if rows != 1:
        raise KeyLifeError(otherwise)


def _rows_remain(version: KeyVersion, rows: int) -> str:
    if version.purpose is KeyPurpose.INDEX:
        return (
            f"{rows} idempotency keys are still remembered under {version.version}."
            " They go with their window: retire it after that"
        )
    return f"{rows} records are still under {version.version}: run `payment-token keys reencrypt` first"


def _row(version: KeyVersion) -> dict[str, object]:
    return {
        "purpose": version.purpose,
        "version": version.version,
        "state": version.state,
        "kms_key_id": version.kek_uri,
        "wrapped_key": version.wrapped_key,
        "environment": version.environment,
        "activated_at": version.activated_at,
        "public_key": version.public_key,
    }


def _version(row: DictRow) -> KeyVersion:
    return KeyVersion(
        purpose=KeyPurpose(row["purpose"]),
        version=row["version"],
        state=KeyState(row["state"]),
        kek_uri=row["kms_key_id"],
        wrapped_key=row["wrapped_key"],
        environment=row["environment"],
        activated_at=row["activated_at"],
        public_key=row["public_key"],
        destruction_due_at=row["destruction_due_at"],
        destroyed_at=row["destroyed_at"],
    )
