import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.audit import DecryptEvent, Outcome
from payment_token.domain.identifiers import RequestId
from payment_token.domain.ports import TokenChangedError
from payment_token.domain.token import Token
from payment_token.domain.worker_policy import ReleaseField, Worker
from tests.contract.conftest import Stores
from tests.support.tokens import new_token

WORKER = Worker("spiffe://example.org/w", b"\x01" * 32, "127.0.0.1:5")


def release_of(token: Token) -> DecryptEvent:
    return DecryptEvent(
        event_id=uuid.uuid4(),
        event_time=datetime.now(UTC),
        outcome=Outcome.RELEASED,
        code="ok",
        worker=WORKER,
        request_id=RequestId("r-1"),
        merchant_id=token.merchant_id,
        token_id=token.token_id,
        purpose="capture",
        fields=frozenset({ReleaseField.PAN}),
        key_name="v1",
    )


async def created(stores: Stores, **changes: timedelta | None) -> Token:
    new = new_token(datetime.now(UTC), **changes)  # type: ignore[arg-type]
    await stores.tokens.create(new)
    return new.stored.token


async def test_a_live_token_is_released(stores: Stores) -> None:
    token = await created(stores)

    await stores.audit_log.record_release(release_of(token), with_sad=True)


async def test_a_token_that_was_revoked_meanwhile_is_not(stores: Stores) -> None:
    token = await created(stores)
    await stores.tokens.revoke(token.merchant_id, token.token_id)

    with pytest.raises(TokenChangedError):
        await stores.audit_log.record_release(release_of(token), with_sad=False)


async def test_a_token_that_expired_meanwhile_is_not(stores: Stores) -> None:
    token = await created(stores, ttl=timedelta(milliseconds=200))
    await asyncio.sleep(0.3)

    with pytest.raises(TokenChangedError):
        await stores.audit_log.record_release(release_of(token), with_sad=False)


async def test_sad_whose_deadline_passed_is_not_but_the_rest_is(stores: Stores) -> None:
    token = await created(stores, sad_ttl=timedelta(milliseconds=200))
    await asyncio.sleep(0.3)

    with pytest.raises(TokenChangedError):
        await stores.audit_log.record_release(release_of(token), with_sad=True)
    await stores.audit_log.record_release(release_of(token), with_sad=False)


async def test_a_refusal_needs_no_token(stores: Stores) -> None:
    token = await created(stores)
    event = replace(
        release_of(token),
        outcome=Outcome.REFUSED,
        code="malformed_request",
        merchant_id=None,
        token_id=None,
    )

    await stores.audit_log.record_refusal(event)
