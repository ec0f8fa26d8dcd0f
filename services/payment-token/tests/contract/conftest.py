"""Each port's contract, on the fake that unit tests use and on PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.ports import AuditLog, TokenStore
from payment_token.domain.token import Claim
from payment_token.infrastructure.database.arrivals import PostgresArrivals
from payment_token.infrastructure.database.pool import new_batch_pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.fakes.memory_audit_log import MemoryAuditLog
from tests.fakes.memory_token_store import MemoryTokenStore
from tests.support.audit_logs import audit_log_of

WINDOW = timedelta(seconds=2)


@dataclass
class Stores:
    tokens: TokenStore
    audit_log: AuditLog
    retire_service_key: Callable[[], None]
    find_claim: Callable[[MerchantId, str], Awaitable[Claim | None]]


@pytest.fixture(params=["memory", "postgres"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        tokens = MemoryTokenStore(lambda: datetime.now(UTC), WINDOW)
        yield Stores(
            tokens,
            MemoryAuditLog(tokens, lambda: datetime.now(UTC)),
            lambda: setattr(tokens, "active_service_key", "v2"),
            tokens.find_claim,
        )
        return
    url = request.getfixturevalue("database_url")
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(
            "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)"
            " VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'),"
            " ('index', 'v1', 'active', 'local:kek', '', 'test')"
        )
        async with (
            new_pool(url) as pool,
            new_batch_pool(url) as batches,
            audit_log_of(url, pool) as audit_log,
        ):
            arrivals = PostgresArrivals(pool, batches, None, defaults_allowed=False)

            async def find_claim(merchant_id: MerchantId, key: str) -> Claim | None:
                return (
                    await arrivals.look_up(merchant_id, key, DeviceId("d_1"), AttemptName("", ""))
                ).claim

            yield Stores(
                PostgresTokenStore(pool, batches, WINDOW),
                audit_log,
                lambda: database.execute(
                    "UPDATE encryption_keys SET state = 'decrypt-only' WHERE purpose = 'service'"
                )
                and None,
                find_claim,
            )
