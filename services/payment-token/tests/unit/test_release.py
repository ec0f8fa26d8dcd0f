from dataclasses import replace
from datetime import timedelta

import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.audit import AuditEvent, Outcome, Receipt
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import (
    AuditUnavailableError,
    ForbiddenError,
    PaymentTokenError,
    RecordIntegrityFailureError,
    TokenExpiredError,
    TokenNotFoundError,
    TokenRevokedError,
)
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.release import Released, ReleaseRequest
from payment_token.domain.token import SADStatus, Token
from payment_token.domain.worker_policy import ReleaseField, Worker
from tests.fakes.fixed_keys import FixedKeys
from tests.support.use_cases import MERCHANT, World

WORKER = Worker("spiffe://w", b"\x01" * 32, "127.0.0.1:5")
REQUEST_ID = RequestId("r-1")
CARD = PUBLISHED_CARDS[0]


@pytest.fixture
def world() -> World:
    return World()


async def tokenised(world: World, ttl_seconds: int | None = None) -> Token:
    return (
        await world.tokenise(world.request(CARD, PartFormat.TRACK1, ttl_seconds=ttl_seconds))
    ).token


def asking(token: Token, *fields: ReleaseField, **changes: object) -> ReleaseRequest:
    request = ReleaseRequest(
        token.token_id.text,
        MERCHANT,
        "capture",
        frozenset(fields or (ReleaseField.PAN, ReleaseField.SAD)),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


async def released(world: World, request: ReleaseRequest) -> Released:
    return await world.release(WORKER, REQUEST_ID, request)


async def test_card_data_comes_with_its_record(world: World) -> None:
    token = await tokenised(world)

    result = await released(world, asking(token))

    assert result.pan_part.pan.reveal() == CARD.pan
    assert result.sad_part is not None
    assert result.sad_status is SADStatus.LIVE
    (event,) = world.audit_log.events
    assert [result.receipt] == world.audit_log.receipts
    assert (event.outcome, event.code, event.key_name) == (Outcome.RELEASED, "ok", "v1")
    assert event.fields == {ReleaseField.PAN, ReleaseField.SAD}
    assert CARD.pan not in repr(result) + repr(event)


async def test_no_record_no_release(world: World) -> None:
    token = await tokenised(world)
    world.audit_log.fails = True

    with pytest.raises(AuditUnavailableError):
        await released(world, asking(token))


@pytest.mark.parametrize(
    "changes",
    [{"merchant_id": MerchantId("m_2")}, {"purpose": "refund"}],
)
async def test_what_the_policy_does_not_grant(world: World, changes: dict[str, object]) -> None:
    token = await tokenised(world)

    with pytest.raises(ForbiddenError):
        await released(world, asking(token, **changes))


async def test_one_field_too_many_refuses_the_whole_request(world: World) -> None:
    token = await tokenised(world)
    grant = replace(world.policy.grants["spiffe://w"], fields=frozenset({ReleaseField.PAN}))
    world.policy = replace(world.policy, grants={"spiffe://w": grant})

    with pytest.raises(ForbiddenError):
        await released(world, asking(token, ReleaseField.PAN, ReleaseField.EXPIRY))


async def test_an_unknown_worker(world: World) -> None:
    stranger = replace(WORKER, identity="spiffe://stranger")

    with pytest.raises(ForbiddenError):
        world.release.admit(stranger)
    with pytest.raises(ForbiddenError):
        await world.release(stranger, REQUEST_ID, asking(await tokenised(world)))


@pytest.mark.parametrize(
    "text", ["", "pt_", "4111111111111111", "pt_" + "b" * 36, "pt_" + "b" * 4000]
)
async def test_what_is_not_a_token_of_this_merchant(world: World, text: str) -> None:
    with pytest.raises(TokenNotFoundError):
        await released(world, asking(await tokenised(world), payment_token=text))


async def test_expiry_is_exact(world: World) -> None:
    token = await tokenised(world, ttl_seconds=60)

    world.time = token.expires_at - timedelta(microseconds=1)
    await released(world, asking(token, ReleaseField.PAN))
    world.time = token.expires_at
    with pytest.raises(TokenExpiredError):
        await released(world, asking(token, ReleaseField.PAN))


async def test_sad_ends_exactly_at_its_deadline(world: World) -> None:
    token = await tokenised(world)
    deadline = world.time + timedelta(hours=1)

    world.time = deadline - timedelta(microseconds=1)
    assert (await released(world, asking(token))).sad_part is not None
    world.time = deadline
    result = await released(world, asking(token))

    assert result.sad_part is None
    assert result.sad_status is SADStatus.EXPIRED
    assert result.pan_part.pan.reveal() == CARD.pan
    assert world.audit_log.events[-1].fields == {ReleaseField.PAN}


async def test_sad_whose_epoch_key_is_gone_is_destroyed(world: World) -> None:
    token = await tokenised(world)
    world.epoch_keys = FixedKeys("e2")

    result = await released(world, asking(token))

    assert (result.sad_part, result.sad_status) == (None, SADStatus.DESTROYED)


async def test_a_token_revoked_while_it_is_released_is_not(world: World) -> None:
    token = await tokenised(world)
    release = world.release
    record = world.audit_log.record_release

    async def revoked_first(event: AuditEvent, *, with_sad: bool) -> Receipt:
        await world.store.revoke(MERCHANT, token.token_id)
        return await record(event, with_sad=with_sad)

    world.audit_log.record_release = revoked_first  # type: ignore[method-assign,assignment]

    with pytest.raises(TokenRevokedError):
        await release(WORKER, REQUEST_ID, asking(token))
    assert world.audit_log.events == []


@pytest.mark.parametrize(
    "what", ["flipped", "moved", "expiry", "sad as pan", "pan missing", "unknown key", "junk"]
)
async def test_a_record_that_was_tampered_with(world: World, what: str) -> None:
    token, other = await tokenised(world), await tokenised(world)
    stored = await world.store.get(MERCHANT, token.token_id)
    elsewhere = await world.store.get(MERCHANT, other.token_id)
    assert stored is not None
    assert stored.sealed_pan is not None
    assert elsewhere is not None
    later = replace(stored.token, expires_at=stored.token.expires_at + timedelta(days=1))
    changes: dict[str, object] = {
        "flipped": {"sealed_pan": stored.sealed_pan[:-1] + bytes((stored.sealed_pan[-1] ^ 1,))},
        "moved": {"sealed_pan": elsewhere.sealed_pan},
        "expiry": {"token": later},
        "sad as pan": {"sealed_pan": stored.sealed_sad},
        "pan missing": {"sealed_pan": None},
        "unknown key": {"sealed_pan": stored.sealed_pan.replace(b"v1", b"v7", 1)},
        "junk": {"sealed_pan": b"junk"},
    }[
        what
    ]  # type: ignore[assignment]
    world.store.tamper(MERCHANT, token.token_id, **changes)

    with pytest.raises(RecordIntegrityFailureError) as failed:
        await released(world, asking(token, ReleaseField.PAN))
    assert failed.value.__context__ is None
    assert world.audit_log.events == []


async def test_a_refusal_records_what_was_readable(world: World) -> None:
    token = await tokenised(world)
    refusal: PaymentTokenError = ForbiddenError()

    await world.release.record_refusal(WORKER, REQUEST_ID, None, refusal)
    await world.release.record_refusal(WORKER, REQUEST_ID, asking(token), refusal)
    await world.release.record_refusal(
        WORKER, REQUEST_ID, asking(token, payment_token="4111111111111111"), refusal
    )

    unread, named, hostile = world.audit_log.events
    assert (unread.merchant_id, unread.token_id, unread.purpose) == (None, None, None)
    assert (named.merchant_id, named.token_id) == (MERCHANT, token.token_id)
    assert hostile.token_id is None
    assert {event.code for event in world.audit_log.events} == {"forbidden"}
