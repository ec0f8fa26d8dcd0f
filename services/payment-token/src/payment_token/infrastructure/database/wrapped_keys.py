"""Wrapped keys in PostgreSQL: the versions of service and index keys, and the epoch keys of SAD."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from psycopg.rows import class_row

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_ACTIVE = """
SELECT purpose, version, state, kms_key_id, wrapped_key, environment
  FROM encryption_keys WHERE purpose = %s AND state = 'active'
"""

_NAMED = """
SELECT purpose, version, state, kms_key_id, wrapped_key, environment
  FROM encryption_keys WHERE purpose = %s AND version = %s AND state IN ('active', 'decrypt-only')
"""

# One process makes the first version; the others wait here and then find it.
_LOCK_FIRST_VERSION = "SELECT pg_advisory_xact_lock(hashtextextended('first-key:' || %s, 0))"

_ADD_FIRST = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment, activated_at)
SELECT %(purpose)s, %(version)s, 'active', %(kms_key_id)s, %(wrapped_key)s, %(environment)s, clock_timestamp()
 WHERE NOT EXISTS (SELECT FROM encryption_keys WHERE purpose = %(purpose)s)
"""

_ADD_EPOCH_KEY = """
INSERT INTO sad_epoch_keys (epoch_key_id, kms_key_id, wrapped_key, environment, starts_at, ends_at, dies_at)
SELECT %(epoch_key_id)s, %(kms_key_id)s, %(wrapped_key)s, %(environment)s, %(starts_at)s, %(ends_at)s,
       %(dies_at)s
 WHERE %(dies_at)s > clock_timestamp()
    ON CONFLICT (epoch_key_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    purpose: str
    version: str
    state: str
    kms_key_id: str
    wrapped_key: bytes
    environment: str


@dataclass(frozen=True, slots=True)
class WrappedEpochKey:
    """``dies_at`` is the end of the epoch plus the longest life of SAD: nothing that it protects is alive then."""

    epoch_key_id: str
    kms_key_id: str
    wrapped_key: bytes
    environment: str
    starts_at: datetime
    ends_at: datetime
    dies_at: datetime


class PostgresWrappedKeys:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def active(self, purpose: str) -> WrappedKey | None:
        return await self._one(_ACTIVE, purpose)

    async def named(self, purpose: str, version: str) -> WrappedKey | None:
        """``None`` for a version that does not exist, or whose destruction has begun."""
        return await self._one(_NAMED, purpose, version)

    async def add_first(self, key: WrappedKey) -> None:
        """Adds the first version of a purpose; does nothing when the purpose has one by now."""
        async with connection_of(self._pool) as connection:
            await connection.execute(_LOCK_FIRST_VERSION, (key.purpose,))
            await connection.execute(_ADD_FIRST, asdict(key))

    async def _one(self, query: LiteralString, *parameters: str) -> WrappedKey | None:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=class_row(WrappedKey))
            await cursor.execute(query, parameters)
            return await cursor.fetchone()


class PostgresEpochKeys:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def live(self) -> list[WrappedEpochKey]:
        """Deletes what is dead, and returns the rest, the oldest first."""
        async with connection_of(self._pool) as connection:
            await connection.execute(
                "DELETE FROM sad_epoch_keys WHERE dies_at <= clock_timestamp()"
            )
            cursor = connection.cursor(row_factory=class_row(WrappedEpochKey))
            await cursor.execute("SELECT * FROM sad_epoch_keys ORDER BY starts_at, epoch_key_id")
            return await cursor.fetchall()

    async def add(self, key: WrappedEpochKey) -> None:
        """Adds a key, or writes it back after a crash emptied the table. A dead key stays dead."""
        async with connection_of(self._pool) as connection:
            await connection.execute(_ADD_EPOCH_KEY, asdict(key))


def epoch_of(now: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """Start and end of the epoch that ``now`` falls into, on whole multiples of its length."""
    seconds = int(now.timestamp() // length.total_seconds() * length.total_seconds())
    start = datetime.fromtimestamp(seconds, now.tzinfo)
    return start, start + length
