"""A release that races the completion of its authorisation has its record before it, or gives no SAD."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain.complete_authorization import (
    AuthorizationOutcome,
    Completed,
    CompletionRequest,
)
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Released, ReleaseRequest
from payment_token.domain.worker_policy import (
    Operation,
    ReleaseField,
    Worker,
    WorkerGrant,
    WorkerPolicy,
)
from payment_token.infrastructure.database.pool import new_batch_pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.fakes.fixed_keys import FixedKeys
from tests.support.audit_logs import audit_log_of
from tests.support.long_form import usual_or_long
from tests.support.use_cases import MERCHANT, World

RACES = usual_or_long(100, 1_000)
RELEASES = 4
WORKER = Worker("spiffe://w", b"\x01" * 32, "127.0.0.1:5")

_KEYS = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)
VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'), ('index', 'v1', 'active', 'local:kek', '', 'test')
"""

# In the order in which they came into the log, whichever process wrote them.
_RECORDS = """
SELECT event, coalesce(fields ? 'sad', false) FROM audit_records
 WHERE token_id = %s AND event IN ('decrypt', 'authorization_completed') ORDER BY recorded_at, sequence
"""


class WorldInTime(World):
    """The database's own clock decides here, and this is the same machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Processes:
    """Two of them on one database: the one releases, the other one completes."""

    releasing: World
    completing: World


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[Processes]:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(_KEYS)
    grant = WorkerGrant(
        frozenset({MERCHANT}),
        frozenset({"capture"}),
        frozenset(ReleaseField),
        frozenset(Operation),
    )
    policy = WorkerPolicy({WORKER.identity: grant})
    keys = World()
    async with AsyncExitStack() as stack:
        worlds = []
        for _ in range(2):
            world = WorldInTime(
                service_keys=keys.service_keys,
                epoch_keys=keys.epoch_keys,
                index_keys=FixedKeys("v1"),
            )
            world.policy = policy
            pool = await stack.enter_async_context(new_pool(database_url))
            batches = await stack.enter_async_context(new_batch_pool(database_url))
            world.store = PostgresTokenStore(pool, batches, timedelta(hours=24))
            world.audit_log = await stack.enter_async_context(audit_log_of(database_url, pool))
            worlds.append(world)
        yield Processes(*worlds)


async def release(world: World, payment_token: str) -> Released:
    await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
    asked = ReleaseRequest(payment_token, MERCHANT, "capture", frozenset(ReleaseField))
    return await world.release(WORKER, RequestId("release"), asked)


async def complete(world: World, payment_token: str) -> Completed:
    await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
    request = CompletionRequest(payment_token, MERCHANT, AuthorizationOutcome.APPROVED)
    return await world.complete_authorization(WORKER, RequestId("complete"), request)


async def test_no_sad_is_released_after_the_record_of_its_end(
    processes: Processes, database_url: str
) -> None:
    with_sad = without_sad = 0
    with psycopg.connect(database_url, autocommit=True) as database:
        for _ in range(RACES):
            world = processes.releasing
            name = (await world.tokenise(world.request())).token.token_id.text
            *released, completed = await asyncio.gather(
                *(release(processes.releasing, name) for _ in range(RELEASES)),
                complete(processes.completing, name),
            )
            later = await release(processes.releasing, name)

            assert completed.sad_destroyed_at is not None
            assert later.sad_part is None
            gave = sum(each.sad_part is not None for each in released)
            records = database.execute(_RECORDS, (name,)).fetchall()
            end = records.index(("authorization_completed", False))
            assert len(records) == RELEASES + 2
            assert sum(said for _, said in records[:end]) == gave
            assert not any(said for _, said in records[end:])
            with_sad += gave
            without_sad += RELEASES - gave
    # Both ends of the race were seen.
    assert with_sad
    assert without_sad


async def test_many_completions_of_one_token_agree(processes: Processes) -> None:
    world = processes.releasing
    name = (await world.tokenise(world.request())).token.token_id.text

    done = await asyncio.gather(
        *(complete(each, name) for each in (processes.releasing, processes.completing) * 10)
    )

    assert len({(each.sad_destroyed_at, each.unrecoverable_from) for each in done}) == 1
    assert len({str(each.receipt) for each in done}) == 20
