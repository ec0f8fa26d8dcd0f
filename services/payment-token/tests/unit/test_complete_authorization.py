from dataclasses import replace
from datetime import timedelta

import pytest

from payment_token.domain.audit import EventKind, Outcome
from payment_token.domain.complete_authorization import (
    AuthorizationOutcome,
    Completed,
    CompletionRequest,
)
from payment_token.domain.errors import (
    AuditUnavailableError,
    ForbiddenError,
    TokenNotFoundError,
    UnauthenticatedError,
)
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.release import ReleaseRequest
from payment_token.domain.token import SADStatus, Token
from payment_token.domain.worker_policy import (
    Operation,
    ReleaseField,
    Worker,
    WorkerGrant,
    WorkerPolicy,
)
from tests.support.use_cases import MERCHANT, World

WORKER = Worker("spiffe://w", b"\x01" * 32, "127.0.0.1:5")
APPROVED = AuthorizationOutcome.APPROVED


@pytest.fixture
def world() -> World:
    world = World()
    grant = WorkerGrant(
        frozenset({MERCHANT, "m_2"}),
        frozenset({"capture"}),
        frozenset(ReleaseField),
        frozenset(Operation),
    )
    world.policy = WorkerPolicy({"spiffe://w": grant})
    return world


async def token_of(world: World, ttl_seconds: int | None = None) -> Token:
    return (await world.tokenise(world.request(ttl_seconds=ttl_seconds))).token


async def complete(world: World, payment_token: str, merchant: str = MERCHANT) -> Completed:
    request = CompletionRequest(payment_token, MerchantId(merchant), APPROVED)
    return await world.complete_authorization(WORKER, RequestId("r"), request)


async def sad_of(world: World, token: Token) -> SADStatus:
    asked = ReleaseRequest(token.token_id.text, MERCHANT, "capture", frozenset(ReleaseField))
    released = await world.release(WORKER, RequestId("r"), asked)
    assert (released.sad_part is not None) is (released.sad_status is SADStatus.LIVE)
    return released.sad_status


async def test_sad_ends_and_the_rest_stays(world: World) -> None:
    token = await token_of(world)
    assert await sad_of(world, token) is SADStatus.LIVE

    done = await complete(world, token.token_id.text)

    assert (done.sad_status, done.sad_destroyed_at) == (SADStatus.DESTROYED, world.time)
    assert done.unrecoverable_from is not None
    assert done.unrecoverable_from > world.time
    assert await sad_of(world, token) is SADStatus.DESTROYED


async def test_its_record_says_who_ended_what(world: World) -> None:
    token = await token_of(world)

    done = await complete(world, token.token_id.text)

    event = world.audit_log.events[-1]
    assert (event.kind, event.outcome, event.code) == (
        EventKind.AUTHORIZATION_COMPLETED,
        Outcome.DONE,
        "ok",
    )
    assert (event.actor.identity, event.merchant_id, event.token_id) == (
        "spiffe://w",
        MERCHANT,
        token.token_id,
    )
    assert event.details == {"authorization": "approved"}
    assert world.audit_log.receipts[-1] == done.receipt


async def test_again_is_fine_and_another_record(world: World) -> None:
    token = await token_of(world)
    first = await complete(world, token.token_id.text)
    world.time += timedelta(minutes=5)

    second = await complete(world, token.token_id.text)

    assert replace(second, receipt=first.receipt) == first
    assert second.receipt != first.receipt


async def test_sad_whose_time_was_over_is_expired(world: World) -> None:
    token = await token_of(world)
    world.time += timedelta(hours=1)

    done = await complete(world, token.token_id.text)

    assert (done.sad_status, done.sad_destroyed_at) == (SADStatus.EXPIRED, world.time)
    assert await sad_of(world, token) is SADStatus.EXPIRED


async def test_a_revoked_and_an_expired_token_are_completed_all_the_same(world: World) -> None:
    revoked, expired = await token_of(world), await token_of(world, ttl_seconds=1)
    await world.store.revoke(MERCHANT, revoked.token_id)
    revoked_at = world.time
    world.time += timedelta(seconds=2)

    done = await complete(world, revoked.token_id.text)

    assert (done.sad_status, done.sad_destroyed_at) == (SADStatus.DESTROYED, revoked_at)
    assert (await complete(world, expired.token_id.text)).sad_status is SADStatus.EXPIRED


async def test_without_sad_there_is_nothing_to_end(world: World) -> None:
    token = await token_of(world)
    world.store.tamper(MERCHANT, token.token_id, sealed_sad=None, sad_deadline=None)

    done = await complete(world, token.token_id.text)

    assert (done.sad_status, done.sad_destroyed_at, done.unrecoverable_from) == (
        SADStatus.NONE,
        None,
        None,
    )
    assert world.audit_log.receipts[-1] == done.receipt


@pytest.mark.parametrize("name", ["pt_" + "b" * 36, "nonsense", ""])
async def test_an_unknown_token(world: World, name: str) -> None:
    with pytest.raises(TokenNotFoundError):
        await complete(world, name)


async def test_another_merchants_token_is_unknown(world: World) -> None:
    token = await token_of(world)

    with pytest.raises(TokenNotFoundError):
        await complete(world, token.token_id.text, "m_2")

    assert await sad_of(world, token) is SADStatus.LIVE


async def test_who_may_only_decrypt_completes_nothing(world: World) -> None:
    token = await token_of(world)
    grant = world.policy.grants["spiffe://w"]
    decrypting = replace(grant, operations=frozenset({Operation.DECRYPT}))
    world.policy = WorkerPolicy({"spiffe://w": decrypting})

    with pytest.raises(ForbiddenError):
        await complete(world, token.token_id.text)
    with pytest.raises(ForbiddenError):
        await complete(world, token.token_id.text, "m_3")

    assert await sad_of(world, token) is SADStatus.LIVE


async def test_what_cannot_be_recorded_does_not_happen(world: World) -> None:
    token = await token_of(world)
    world.audit_log.fails = True

    with pytest.raises(AuditUnavailableError):
        await complete(world, token.token_id.text)

    world.audit_log.fails = False
    assert await sad_of(world, token) is SADStatus.LIVE


def test_who_has_no_identity_is_not_admitted(world: World) -> None:
    for identity, error in (("", UnauthenticatedError), ("spiffe://x", ForbiddenError)):
        with pytest.raises(error):
            world.complete_authorization.admit(Worker(identity, b"", ""))


async def test_a_refusal_is_on_record(world: World) -> None:
    request = CompletionRequest("pt_" + "b" * 36, MERCHANT, AuthorizationOutcome.DECLINED)

    await world.complete_authorization.record_refusal(
        WORKER, RequestId("r"), request, TokenNotFoundError()
    )
    await world.complete_authorization.record_refusal(
        WORKER, RequestId("r"), None, ForbiddenError()
    )

    first, second = world.audit_log.events
    assert (first.kind, first.outcome, first.code) == (
        EventKind.AUTHORIZATION_COMPLETED,
        Outcome.REFUSED,
        "token_not_found",
    )
    assert first.details == {"authorization": "declined"}
    assert (second.code, second.merchant_id, second.details) == ("forbidden", None, {})
