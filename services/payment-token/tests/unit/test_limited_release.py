"""Where in a release a worker's rate and budget are asked, and what they leave behind."""

import asyncio
from dataclasses import replace

import pytest

from payment_token.domain.audit import EventKind, Outcome
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    OverWorkerLimitError,
    PaymentTokenError,
    TokenExpiredError,
    TokenNotFoundError,
    TokenRevokedError,
)
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.ports import TokenChangedError
from payment_token.domain.release import ReleaseRequest
from payment_token.domain.token import Token
from payment_token.domain.worker_policy import Budget, Rate, ReleaseField, Worker
from tests.support.use_cases import MERCHANT, World

WORKER = Worker("spiffe://w", b"\x01" * 32, "127.0.0.1:5")
REQUEST_ID = RequestId("r-1")


@pytest.fixture
def world() -> World:
    return World()


def limit(world: World, budget: int | None = None, rate: int | None = None) -> None:
    grant = replace(
        world.policy.grants[WORKER.identity],
        budget=None if budget is None else Budget(budget, 3600),
        rate=None if rate is None else Rate(rate, 3600),
    )
    world.policy = replace(world.policy, grants={WORKER.identity: grant})


async def tokenised(world: World, ttl_seconds: int | None = None) -> Token:
    return (await world.tokenise(world.request(ttl_seconds=ttl_seconds))).token


def asking(token: Token | str, merchant: MerchantId = MERCHANT) -> ReleaseRequest:
    text = token if isinstance(token, str) else token.token_id.text
    return ReleaseRequest(text, merchant, "capture", frozenset({ReleaseField.PAN}))


async def attempt(world: World, token: Token | str) -> type[PaymentTokenError] | None:
    """As both protocols do it: what is refused is recorded."""
    try:
        await world.release(WORKER, REQUEST_ID, asking(token))
    except PaymentTokenError as error:
        await world.release.record_refusal(WORKER, REQUEST_ID, asking(token), error)
        return type(error)
    return None


async def test_guessing_tokens_uses_the_rate_up(world: World) -> None:
    limit(world, rate=3)
    token = await tokenised(world)

    found = [await attempt(world, text) for text in ("nonsense", "", "pt_" + "b" * 36)]

    assert found == [TokenNotFoundError] * 3
    assert await attempt(world, token) is OverWorkerLimitError


async def test_what_the_policy_denies_is_denied_whatever_the_rate(world: World) -> None:
    limit(world, rate=1)
    for _ in range(3):
        with pytest.raises(ForbiddenError):
            await world.release(WORKER, REQUEST_ID, asking("pt_", MerchantId("m_2")))

    assert await attempt(world, await tokenised(world)) is None


async def test_a_token_that_is_not_released_is_not_charged(world: World) -> None:
    limit(world, budget=1)
    revoked, expired = await tokenised(world), await tokenised(world, ttl_seconds=1)
    await world.store.revoke(MERCHANT, revoked.token_id)
    usable = await tokenised(world)
    world.time = expired.expires_at

    assert await attempt(world, revoked) is TokenRevokedError
    assert await attempt(world, expired) is TokenExpiredError
    assert await attempt(world, "pt_" + "b" * 36) is TokenNotFoundError
    assert await attempt(world, usable) is None
    assert await attempt(world, await tokenised(world)) is OverWorkerLimitError
    assert await attempt(world, usable) is None


async def test_a_refusal_over_the_budget_names_the_token_that_was_wanted(world: World) -> None:
    limit(world, budget=1)
    await attempt(world, await tokenised(world))
    wanted = await tokenised(world)

    assert await attempt(world, wanted) is OverWorkerLimitError

    event = world.audit_log.events[-1]
    assert (event.kind, event.outcome, event.code) == (
        EventKind.DECRYPT,
        Outcome.REFUSED,
        "rate_limited",
    )
    assert (event.token_id, event.details) == (wanted.token_id, {"limit": "budget"})
    assert world.over_limit == [("budget", WORKER.identity)]


async def test_hammering_leaves_one_record_and_a_count(world: World) -> None:
    limit(world, rate=2)
    token = await tokenised(world)

    found = [await attempt(world, token) for _ in range(500)]
    await world.limit_refusals.record_counts()

    assert found.count(None) == 2
    released, refused = world.audit_log.events[:2], world.audit_log.events[2:]
    assert {event.outcome for event in released} == {Outcome.RELEASED}
    assert [event.details.get("requests") for event in refused] == [None, 497]


async def test_without_the_ledger_nothing_is_released(world: World) -> None:
    limit(world, budget=5)
    token = await tokenised(world)
    world.ledger.fails = True

    assert await attempt(world, token) is DatabaseUnavailableError
    assert [event.outcome for event in world.audit_log.events] == [Outcome.REFUSED]


async def test_a_token_that_changes_meanwhile_is_charged_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(world, budget=1)
    token = await tokenised(world)
    record_release, changes = world.audit_log.record_release, iter([TokenChangedError()] * 2)

    async def changing(event: object, *, with_sad: bool) -> object:
        for change in changes:
            raise change
        return await record_release(event, with_sad=with_sad)  # type: ignore[arg-type]

    monkeypatch.setattr(world.audit_log, "record_release", changing)

    assert await attempt(world, token) is None
    assert world.ledger.asked == 1


async def test_many_at_once_get_no_more_different_tokens_than_the_budget(world: World) -> None:
    limit(world, budget=7)
    tokens = [await tokenised(world) for _ in range(12)]
    wanted = tokens * 3

    found = await asyncio.gather(*(attempt(world, token) for token in wanted))

    given = {
        token.token_id.text for token, error in zip(wanted, found, strict=True) if error is None
    }
    assert len(given) == 7
    assert found.count(None) == 21


async def test_a_policy_that_changes_changes_the_limits_of_the_next_request(world: World) -> None:
    limit(world, budget=1, rate=1)
    tokens = [await tokenised(world) for _ in range(3)]
    assert [await attempt(world, token) for token in tokens] == [
        None,
        OverWorkerLimitError,
        OverWorkerLimitError,
    ]

    limit(world, budget=2, rate=10)
    assert [await attempt(world, token) for token in tokens] == [None, None, OverWorkerLimitError]
    limit(world)
    assert [await attempt(world, token) for token in tokens] == [None] * 3
