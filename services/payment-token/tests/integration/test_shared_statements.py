"""What requests that share a statement could do to each other, on a real PostgreSQL. Two stores are two processes."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    IdempotencyInProgressError,
    PaymentTokenError,
    UnknownDeviceError,
)
from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.ports import InactiveKeyError, TokenChangedError
from payment_token.domain.token import Claim, NewToken, Token
from payment_token.infrastructure.database.arrivals import PostgresArrivals
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.pool import new_batch_pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from tests.support.audit_logs import audit_log_of
from tests.support.tokens import new_token, release_of

WINDOW = timedelta(hours=1)
# A terminal that is known: creates of others are never done together.
KNOWN = b"known-01"


class Deployment:
    def __init__(
        self,
        database: psycopg.Connection,
        stores: list[PostgresTokenStore],
        log: PostgresAuditLog,
        arrivals: PostgresArrivals,
    ) -> None:
        self.database = database
        self.store = stores[0]
        self.stores = stores
        self.log = log
        self.arrivals = arrivals

    def count(self, table: str) -> int:
        found = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert found is not None
        return int(found[0])

    async def know(self, initial_key_id: bytes = KNOWN, device_id: str = "d_1") -> None:
        assert (
            await self.store.create(create(initial_key_id, device_id=device_id))
            is CounterVerdict.FRESH
        )


@pytest.fixture
async def deployed(database_url: str) -> AsyncIterator[Deployment]:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment)"
            " VALUES ('service', 'v1', 'active', 'local:kek', '', 'test'),"
            " ('service', 'v0', 'decrypt-only', 'local:kek', '', 'test'),"
            " ('index', 'v1', 'active', 'local:kek', '', 'test')"
        )
        async with (
            store_of(database_url) as (one, log, arrivals),
            store_of(database_url) as (two, _, _),
        ):
            deployment = Deployment(database, [one, two], log, arrivals)
            await deployment.know()
            yield deployment


@asynccontextmanager
async def store_of(
    url: str,
) -> AsyncIterator[tuple[PostgresTokenStore, PostgresAuditLog, PostgresArrivals]]:
    async with (
        new_pool(url) as pool,
        new_batch_pool(url) as batches,
        audit_log_of(url, pool) as log,
    ):
        yield (
            PostgresTokenStore(pool, batches, WINDOW),
            log,
            PostgresArrivals(pool, batches, None, defaults_allowed=False),
        )


def create(
    initial_key_id: bytes = KNOWN, *, late: timedelta = timedelta(), **changes: object
) -> NewToken:
    return new_token(datetime.now(UTC) - late, initial_key_id=initial_key_id, **changes)  # type: ignore[arg-type]


async def outcomes_of(
    store: PostgresTokenStore, creates: list[NewToken]
) -> list[Claim | CounterVerdict | BaseException]:
    return await asyncio.gather(*map(store.create, creates), return_exceptions=True)


async def test_many_creates_are_one_transaction(deployed: Deployment) -> None:
    creates = [create() for _ in range(30)]

    assert await outcomes_of(deployed.store, creates) == [CounterVerdict.FRESH] * 30

    written = deployed.database.execute(
        "SELECT count(DISTINCT xmin::text), count(*) FROM payment_tokens WHERE token_id = ANY(%s)",
        [[new.stored.token.token_id.text for new in creates]],
    ).fetchone()
    assert written == (1, 30)
    for new in creates:
        token = new.stored.token
        assert await deployed.store.get(token.merchant_id, token.token_id) == new.stored


async def test_a_key_that_is_blocked_holds_up_nobody_else(
    deployed: Deployment, database_url: str
) -> None:
    creates = [create(key=f"k{number}") for number in range(20)]
    with psycopg.connect(database_url) as other:
        other.execute(
            "INSERT INTO token_idempotency_keys VALUES ('m_1', 'k7', 'pt_x', '', 'v1', now(), now() + '1h')"
        )
        working = [asyncio.ensure_future(deployed.store.create(new)) for new in creates]
        blocked = working.pop(7)

        assert await asyncio.gather(*working) == [CounterVerdict.FRESH] * 19
        assert not blocked.done()
        other.rollback()
        assert await blocked is CounterVerdict.FRESH


async def test_a_key_that_stays_blocked_is_in_progress(
    deployed: Deployment, database_url: str
) -> None:
    with psycopg.connect(database_url) as other:
        other.execute(
            "INSERT INTO token_idempotency_keys VALUES ('m_1', 'k', 'pt_x', '', 'v1', now(), now() + '1h')"
        )

        with pytest.raises(IdempotencyInProgressError):
            await deployed.store.create(create(key="k"))


async def test_a_row_that_cannot_be_written_fails_alone(deployed: Deployment) -> None:
    """No partition reaches so far."""
    creates = [create() for _ in range(10)]
    creates[4] = create(ttl=timedelta(days=20_000))

    outcomes = await outcomes_of(deployed.store, creates)

    assert isinstance(outcomes.pop(4), DatabaseUnavailableError)
    assert outcomes == [CounterVerdict.FRESH] * 9
    assert deployed.count("token_idempotency_keys") == deployed.count("payment_tokens") == 10


async def test_keys_and_clocks_are_checked_for_each(deployed: Deployment) -> None:
    outcomes = await outcomes_of(
        deployed.store,
        [create(), create(service_key="v0"), create(late=timedelta(seconds=5)), create()],
    )

    assert [outcomes[0], outcomes[3]] == [CounterVerdict.FRESH] * 2
    assert isinstance(outcomes[1], InactiveKeyError)
    assert isinstance(outcomes[2], DatabaseUnavailableError)
    assert deployed.count("token_idempotency_keys") == deployed.count("payment_tokens") == 3


async def test_a_new_initial_key_gets_one_of_two_owners(deployed: Deployment) -> None:
    outcomes = await outcomes_of(
        deployed.store, [create(b"fresh-01", device_id=f"d_{number % 2}") for number in range(12)]
    )

    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds == {CounterVerdict: 6, UnknownDeviceError: 6}
    assert deployed.count("token_idempotency_keys") == deployed.count("payment_tokens") == 7


async def test_a_second_one_of_a_batch_leaves_no_binding(deployed: Deployment) -> None:
    await deployed.store.create(create(key="held"))

    outcomes = await outcomes_of(
        deployed.store, [create(), create(b"fresh-02", key="held"), create()]
    )

    assert isinstance(outcomes[1], Claim)
    other = create(b"fresh-02", device_id="d_2")
    assert await deployed.store.create(other) is CounterVerdict.FRESH


async def test_a_server_that_ends_a_batch_loses_nothing(
    deployed: Deployment, database_url: str
) -> None:
    """Whoever heard of an outage asks again under the same key, and there is one token."""
    creates = [create(key=f"k{number}") for number in range(10)]
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE token_idempotency_keys IN SHARE MODE")
        working = [asyncio.ensure_future(deployed.store.create(new)) for new in creates]
        await asyncio.sleep(0.05)
        ended = deployed.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND application_name = 'payment-token'"
        ).fetchall()
        outcomes = await asyncio.gather(*working, return_exceptions=True)
    assert ended
    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailableError}

    again = await outcomes_of(deployed.store, creates)

    assert again == [CounterVerdict.FRESH] * 10
    assert deployed.count("token_idempotency_keys") == deployed.count("payment_tokens") == 11


@pytest.mark.parametrize("seed", range(4))
async def test_a_storm_of_everything(deployed: Deployment, seed: int) -> None:
    """Few keys, few terminals, retired versions and wrong clocks, by two processes: each key has one token at most."""
    chance = random.Random(seed)  # noqa: S311 - so that a storm can be had again
    creates = [
        create(
            chance.choice((KNOWN, b"fresh-a1", b"fresh-b1")),
            device_id=chance.choice(("d_1", "d_2")),
            key=f"k{chance.randrange(25)}",
            service_key=chance.choice(("v1", "v1", "v1", "v0")),
            late=timedelta(seconds=chance.choice((0, 0, 0, 0, 10))),
        )
        for _ in range(150)
    ]

    outcomes = await asyncio.gather(
        *(chance.choice(deployed.stores).create(new) for new in creates), return_exceptions=True
    )

    made: dict[str, str] = {}
    for new, outcome in zip(creates, outcomes, strict=True):
        if outcome is CounterVerdict.FRESH:
            assert new.service_key == "v1"
            assert made.setdefault(new.idempotency_key, new.claim.token_id.text) == (
                new.claim.token_id.text
            ), "two tokens under one key"
        elif isinstance(outcome, BaseException):
            assert isinstance(
                outcome, InactiveKeyError | UnknownDeviceError | DatabaseUnavailableError
            ), outcome
    for new, outcome in zip(creates, outcomes, strict=True):
        if isinstance(outcome, Claim):
            assert outcome.token_id.text == made[new.idempotency_key]
    held = dict(
        deployed.database.execute(
            "SELECT idempotency_key, token_id FROM token_idempotency_keys WHERE idempotency_key LIKE 'k%'"
        ).fetchall()
    )
    assert held == made
    assert deployed.count("payment_tokens") == len(made) + 1
    owners = deployed.database.execute(
        "SELECT count(*) FROM payment_tokens AS t JOIN token_idempotency_keys USING (merchant_id, token_id)"
        " WHERE NOT EXISTS (SELECT FROM device_initial_keys AS d WHERE d.device_id = t.device_id)"
    ).fetchone()
    assert owners == (0,)


async def tokens(deployed: Deployment, days: list[int]) -> list[Token]:
    creates = [create(ttl=timedelta(hours=1, days=day)) for day in days]
    assert await outcomes_of(deployed.store, creates) == [CounterVerdict.FRESH] * len(days)
    return [new.stored.token for new in creates]


async def test_releases_of_many_days_leave_one_record_each(deployed: Deployment) -> None:
    events = [release_of(token) for token in await tokens(deployed, [0, 0, 1, 1])]
    # The same token twice in one batch is two releases.
    events.append(events[0])

    await asyncio.gather(*(deployed.log.record_release(event, with_sad=True) for event in events))

    written = deployed.database.execute(
        "SELECT token_id FROM audit_records WHERE outcome = 'released'"
    )
    assert Counter(written.fetchall()) == Counter((event.token_id.text,) for event in events)


async def test_a_token_that_is_being_changed_holds_up_no_other_release(
    deployed: Deployment, database_url: str
) -> None:
    made = await tokens(deployed, [0] * 8)
    with psycopg.connect(database_url) as other:
        other.execute(
            "UPDATE payment_tokens SET status = 'revoked', revoked_at = now(), sealed_pan = NULL,"
            " sealed_sad = NULL WHERE token_id = %s",
            [made[3].token_id.text],
        )
        working = [
            asyncio.ensure_future(deployed.log.record_release(release_of(token), with_sad=False))
            for token in made
        ]
        blocked = working.pop(3)

        await asyncio.gather(*working)
        assert not blocked.done()
        other.commit()
        with pytest.raises(TokenChangedError):
            await blocked
    assert deployed.count("audit_records WHERE outcome = 'released'") == 7


@pytest.mark.parametrize("locked_for", [0.5, 3.0])
async def test_a_table_that_is_locked_is_waited_for_and_no_defect(
    deployed: Deployment, database_url: str, locked_for: float
) -> None:
    """As by a migration. What waits too long hears of an outage, as any request does."""
    (token,) = await tokens(deployed, [0])
    work = {
        "get": deployed.store.get(token.merchant_id, token.token_id),
        "look up": deployed.arrivals.look_up(
            MerchantId("m_1"), "k", DeviceId("d_1"), AttemptName("", "")
        ),
        "create": deployed.store.create(create()),
        "release": deployed.log.record_release(release_of(token), with_sad=True),
    }
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE payment_tokens, token_idempotency_keys IN ACCESS EXCLUSIVE MODE")
        working = {name: asyncio.ensure_future(each) for name, each in work.items()}
        await asyncio.sleep(locked_for)
        other.rollback()
    outcomes = dict(
        zip(working, await asyncio.gather(*working.values(), return_exceptions=True), strict=True)
    )

    failed = {name for name, each in outcomes.items() if isinstance(each, PaymentTokenError)}
    assert not [
        each
        for each in outcomes.values()
        if isinstance(each, BaseException) and not isinstance(each, PaymentTokenError)
    ]
    assert failed == (set(work) if locked_for > 2 else set())
