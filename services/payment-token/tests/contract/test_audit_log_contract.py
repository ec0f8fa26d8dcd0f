import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.audit import Outcome, Receipt
from payment_token.domain.ports import TokenChangedError
from payment_token.domain.token import Token
from tests.contract.conftest import Stores
from tests.support.tokens import new_token, release_of


async def created(stores: Stores, **changes: timedelta | None) -> Token:
    new = new_token(datetime.now(UTC), **changes)  # type: ignore[arg-type]
    await stores.tokens.create(new)
    return new.stored.token


async def test_a_live_token_is_released(stores: Stores) -> None:
    token = await created(stores)

    receipts = [
        await stores.audit_log.record_release(release_of(token), with_sad=True) for _ in range(2)
    ]

    assert len(set(map(str, receipts))) == 2
    assert all(len(str(receipt)) <= 512 for receipt in receipts)


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

    receipt = await stores.audit_log.record(event)

    assert Receipt.parse(str(receipt)) == receipt
