"""A database that is maintained: its days, its partitions, and tokens that expire when a test needs them to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg

from payment_token.bootstrap.recorded_purges import RecordedPurges
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.maintain import Maintain, Maintained
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.partitions import PostgresPartitions, partition_name
from payment_token.infrastructure.database.pool import Pool, new_batch_pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.tokens import new_token

LONGEST = timedelta(days=2)
WINDOW = timedelta(hours=24)

_PARTITIONS = """
SELECT relname, inhdetachpending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
 WHERE inhparent = 'payment_tokens'::regclass
"""

_KEYS = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)
VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'), ('index', 'v1', 'active', 'local:kek', '', 'test')
"""


@dataclass
class MaintainedDatabase:
    url: str
    pool: Pool
    batches: Pool
    store: PostgresTokenStore
    database: psycopg.Connection
    maintenance: PostgresMaintenance

    @property
    def today(self) -> date:
        (day,) = self.database.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone() or ()
        return day

    @property
    def tomorrow(self) -> date:
        return self.today + timedelta(days=1)

    async def maintain(self, longest: timedelta = LONGEST) -> Maintained | None:
        return await Maintain(self.maintenance, RecordedPurges(self.url), longest)()

    async def missing(self, longest: timedelta = LONGEST) -> list[date]:
        return list(await PostgresPartitions(self.pool, longest).missing())

    async def create(
        self, expires_in: timedelta = timedelta(seconds=1), **changes: object
    ) -> TokenId:
        new = new_token(datetime.now(UTC), ttl=expires_in, sad_ttl=None, **changes)
        assert await self.store.create(new) is CounterVerdict.FRESH
        return new.stored.token.token_id

    async def create_expired(self) -> TokenId:
        """A token that expired yesterday: its purge day has come."""
        now = datetime.now(UTC)
        return await self.create(now.replace(hour=12) - timedelta(days=1) - now)

    def partitions(self) -> dict[str, bool]:
        """Which are there, and whether they are on their way out."""
        return dict(self.database.execute(_PARTITIONS).fetchall())

    def has_table(self, purge_day: date) -> bool:
        name = partition_name(purge_day)
        return self.database.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)


@asynccontextmanager
async def maintained_database(url: str) -> AsyncIterator[MaintainedDatabase]:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(_KEYS)
        async with new_pool(url) as pool, new_batch_pool(url) as batches:
            store = PostgresTokenStore(pool, batches, WINDOW)
            yield MaintainedDatabase(url, pool, batches, store, database, PostgresMaintenance(url))
