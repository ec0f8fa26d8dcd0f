"""The wrapped epoch keys of SAD in PostgreSQL, in an UNLOGGED table: no write-ahead log, base backup or replica has them.

A logical dump does, unless it is told not to (``pg_dump --no-unlogged-table-data``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_LIVE = """
SELECT * FROM sad_epoch_keys WHERE dies_at > clock_timestamp() ORDER BY starts_at, epoch_key_id
"""

_ANY_DEAD = "SELECT FROM sad_epoch_keys WHERE dies_at <= clock_timestamp() LIMIT 1"

_ADD = """
INSERT INTO sad_epoch_keys (epoch_key_id, kms_key_id, wrapped_key, environment, starts_at, ends_at, dies_at)
SELECT %(epoch_key_id)s, %(kms_key_id)s, %(wrapped_key)s, %(environment)s, %(starts_at)s, %(ends_at)s,
       %(dies_at)s
 WHERE %(dies_at)s > clock_timestamp()
    ON CONFLICT (epoch_key_id) DO NOTHING
"""

_MOVE = """
UPDATE sad_epoch_keys SET kms_key_id = %(kms_key_id)s, wrapped_key = %(wrapped_key)s
 WHERE epoch_key_id = %(epoch_key_id)s
"""


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


class PostgresEpochKeys:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def live(self) -> Sequence[WrappedEpochKey]:
        """The oldest first."""
        async with connection_of(self._pool) as connection:
            return await _live(connection)

    async def remove_dead(self) -> None:
        """Leaves nothing of a dead key in the table's file; not now when somebody reads the table, a dump for example."""
        async with connection_of(self._pool) as connection:
            if (await connection.execute(_ANY_DEAD)).rowcount and await _locked(connection):
                # A deleted row stays in the table's file until vacuum, and its bytes after that: with the KEK, they
                # would still open the SAD. TRUNCATE leaves nothing of the old file. It happens once an epoch.
                found = await _live(connection)
                await connection.execute("TRUNCATE sad_epoch_keys")
                for key in found:
                    await connection.execute(_ADD, asdict(key))

    async def add(self, key: WrappedEpochKey) -> None:
        """Adds a key, or writes it back after a crash emptied the table. A dead key stays dead."""
        async with connection_of(self._pool) as connection:
            await connection.execute(_ADD, asdict(key))

    async def move(self, key: WrappedEpochKey) -> None:
        """Stores the same key under the KEK that it names now."""
        async with connection_of(self._pool) as connection:
            await connection.execute(_MOVE, asdict(key))


async def _locked(connection: AsyncConnection) -> bool:
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sad_epoch_keys IN ACCESS EXCLUSIVE MODE NOWAIT")
    except LockNotAvailable:
        return False
    return True


async def _live(connection: AsyncConnection) -> Sequence[WrappedEpochKey]:
    cursor = connection.cursor(row_factory=class_row(WrappedEpochKey))
    await cursor.execute(_LIVE)
    return await cursor.fetchall()


def epoch_of(now: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """Start and end of the epoch that ``now`` falls into, on whole multiples of its length."""
    seconds = int(now.timestamp() // length.total_seconds() * length.total_seconds())
    start = datetime.fromtimestamp(seconds, now.tzinfo)
    return start, start + length
