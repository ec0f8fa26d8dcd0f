import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.counter_window import JUMP, CounterVerdict, ReplayRule
from payment_token.domain.counter_window import WINDOW as COUNTER_WINDOW
from payment_token.domain.errors import (
    AuditUnavailableError,
    KSNBehindWindowError,
    KSNReplayedError,
    UnknownDeviceError,
)
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.ports import InactiveKeyError, TokenChangedError
from payment_token.domain.token import Claim, NewToken, TokenStatus
from tests.contract.conftest import WINDOW, Stores
from tests.support.tokens import new_token, release_of


def now() -> datetime:
    return datetime.now(UTC)


async def test_what_was_written_is_read(stores: Stores) -> None:
    new = new_token(now())

    assert await stores.tokens.create(new) is CounterVerdict.FRESH

    token = new.stored.token
    assert await stores.tokens.get(token.merchant_id, token.token_id) == new.stored
    assert await stores.find_claim(token.merchant_id, new.idempotency_key) == new.claim


async def test_another_merchant_sees_nothing(stores: Stores) -> None:
    new = new_token(now())
    await stores.tokens.create(new)
    other = MerchantId("m_2")

    assert await stores.tokens.get(other, new.stored.token.token_id) is None
    assert await stores.find_claim(other, new.idempotency_key) is None
    assert not await stores.tokens.revoke(other, new.stored.token.token_id)


async def test_a_held_key_gives_the_first_claim_and_writes_nothing(stores: Stores) -> None:
    first = new_token(now(), key="k")
    second = new_token(now(), key="k", fingerprint=b"g" * 32)
    await stores.tokens.create(first)

    assert await stores.tokens.create(second) == first.claim

    assert (
        await stores.tokens.get(second.stored.token.merchant_id, second.stored.token.token_id)
        is None
    )
    # The loser's initial key stays unbound: another device may still be its owner.
    other = new_token(now(), initial_key_id=second.binding.initial_key_id, device_id="d_2")
    assert await stores.tokens.create(other) is CounterVerdict.FRESH


async def test_of_many_at_once_one_wins(stores: Stores) -> None:
    contenders = [new_token(now(), key="storm") for _ in range(20)]

    outcomes = await asyncio.gather(*(stores.tokens.create(new) for new in contenders))

    (winner,) = (
        new
        for new, outcome in zip(contenders, outcomes, strict=True)
        if outcome is CounterVerdict.FRESH
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, Claim)] == [winner.claim] * 19


async def test_a_key_is_free_again_after_its_window(stores: Stores) -> None:
    await stores.tokens.create(new_token(now(), key="k"))
    await asyncio.sleep(WINDOW.total_seconds() + 0.1)
    later = new_token(now(), key="k")

    assert await stores.find_claim(MerchantId("m_1"), "k") is None
    assert await stores.tokens.create(later) is CounterVerdict.FRESH
    assert await stores.find_claim(MerchantId("m_1"), "k") == later.claim


async def test_an_initial_key_has_one_owner(stores: Stores) -> None:
    first = new_token(now(), initial_key_id=b"12345678")
    await stores.tokens.create(first)

    again = new_token(now(), initial_key_id=b"12345678")
    other_device = new_token(now(), initial_key_id=b"12345678", device_id="d_2")
    other_merchant = new_token(now(), initial_key_id=b"12345678", merchant_id="m_2")

    assert await stores.tokens.create(again) is CounterVerdict.FRESH
    for stranger in (other_device, other_merchant):
        with pytest.raises(UnknownDeviceError):
            await stores.tokens.create(stranger)
        token = stranger.stored.token
        assert await stores.tokens.get(token.merchant_id, token.token_id) is None
        assert await stores.find_claim(token.merchant_id, stranger.idempotency_key) is None


# --- Counters of terminals ------------------------------------------------------------------------------------------


def read_of(*counters: int, **changes: object) -> NewToken:
    """A read of one terminal."""
    return new_token(now(), initial_key_id=b"12345678", counters=counters, **changes)  # type: ignore[arg-type]


async def test_a_counter_is_used_once(stores: Stores) -> None:
    assert await stores.tokens.create(read_of(7)) is CounterVerdict.FRESH
    for replay in (read_of(7), read_of(7)):
        with pytest.raises(KSNReplayedError):
            await stores.tokens.create(replay)
        token = replay.stored.token
        assert await stores.tokens.get(token.merchant_id, token.token_id) is None
        assert await stores.find_claim(token.merchant_id, replay.idempotency_key) is None
    assert await stores.tokens.create(read_of(8)) is CounterVerdict.FRESH


async def test_the_retry_of_a_read_finds_its_claim_not_a_replay(stores: Stores) -> None:
    first = read_of(7, key="k")
    await stores.tokens.create(first)
    assert await stores.tokens.create(read_of(7, key="k")) == first.claim


async def test_reads_may_come_late_within_the_window_only(stores: Stores) -> None:
    for counter in (5000, 4000, 5000 - COUNTER_WINDOW + 1, 4999):
        assert await stores.tokens.create(read_of(counter)) is CounterVerdict.FRESH
    for counter in (5000 - COUNTER_WINDOW, 1):
        with pytest.raises(KSNBehindWindowError):
            await stores.tokens.create(read_of(counter))
    for counter in (4000, 4999):
        with pytest.raises(KSNReplayedError):
            await stores.tokens.create(read_of(counter))


async def test_a_jump_is_taken_and_told(stores: Stores) -> None:
    await stores.tokens.create(read_of(1))
    assert await stores.tokens.create(read_of(2 + JUMP)) is CounterVerdict.JUMPED
    with pytest.raises(KSNBehindWindowError):
        await stores.tokens.create(read_of(2))


async def test_terminals_that_may_repeat(stores: Stores) -> None:
    flagged = {"replay_rule": ReplayRule.FLAG}
    assert await stores.tokens.create(read_of(5000, **flagged)) is CounterVerdict.FRESH
    assert await stores.tokens.create(read_of(5000, **flagged)) is CounterVerdict.REPLAYED
    assert await stores.tokens.create(read_of(1, **flagged)) is CounterVerdict.BEHIND_WINDOW
    off = {"replay_rule": ReplayRule.OFF}
    assert await stores.tokens.create(read_of(5000, **off)) is CounterVerdict.FRESH
    # The window was kept all the while: the rule may be tightened again.
    with pytest.raises(KSNReplayedError):
        await stores.tokens.create(read_of(5000))


async def test_each_part_of_a_read_has_a_counter(stores: Stores) -> None:
    assert await stores.tokens.create(read_of(7, 8)) is CounterVerdict.FRESH
    for replay in (read_of(7, 9), read_of(9, 8), read_of(8)):
        with pytest.raises(KSNReplayedError):
            await stores.tokens.create(replay)
    assert await stores.tokens.create(read_of(9)) is CounterVerdict.FRESH


async def test_a_read_that_is_refused_uses_up_no_counter(stores: Stores) -> None:
    await stores.tokens.create(read_of(7, key="k"))
    assert isinstance(await stores.tokens.create(read_of(8, key="k")), Claim)
    assert await stores.tokens.create(read_of(8)) is CounterVerdict.FRESH


async def test_of_many_at_once_with_one_counter_one_wins(stores: Stores) -> None:
    await stores.tokens.create(read_of(1))
    reads = [read_of(counter) for counter in range(2, 12) for _ in range(8)]

    outcomes = await asyncio.gather(
        *(stores.tokens.create(new) for new in reads), return_exceptions=True
    )

    assert outcomes.count(CounterVerdict.FRESH) == 10
    assert sum(isinstance(outcome, KSNReplayedError) for outcome in outcomes) == 70


async def test_nothing_is_written_under_a_key_that_is_not_active(stores: Stores) -> None:
    stores.retire_service_key()
    new = new_token(now())

    with pytest.raises(InactiveKeyError):
        await stores.tokens.create(new)

    assert await stores.tokens.get(new.stored.token.merchant_id, new.stored.token.token_id) is None


async def test_revoking_shreds_and_may_be_repeated(stores: Stores) -> None:
    new = new_token(now())
    token = new.stored.token
    await stores.tokens.create(new)

    assert await stores.tokens.revoke(token.merchant_id, token.token_id)
    once = await stores.tokens.get(token.merchant_id, token.token_id)
    assert await stores.tokens.revoke(token.merchant_id, token.token_id)
    twice = await stores.tokens.get(token.merchant_id, token.token_id)

    assert once is not None
    assert once.token.status is TokenStatus.REVOKED
    assert (once.sealed_pan, once.sealed_sad) == (None, None)
    assert once.sad_destroyed_at is not None
    assert twice == once


async def test_a_token_without_sad_never_had_any(stores: Stores) -> None:
    new = new_token(now(), sad_ttl=None)
    await stores.tokens.create(new)
    await stores.tokens.revoke(new.stored.token.merchant_id, new.stored.token.token_id)

    stored = await stores.tokens.get(new.stored.token.merchant_id, new.stored.token.token_id)

    assert stored is not None
    assert stored.sad_destroyed_at is None


async def test_an_unknown_token_is_not_revoked(stores: Stores) -> None:
    new = new_token(now(), ttl=timedelta(days=3))

    assert not await stores.tokens.revoke(new.stored.token.merchant_id, new.stored.token.token_id)


async def nothing() -> None: ...


async def test_ended_sad_is_shredded_and_its_times_stay(stores: Stores) -> None:
    new = new_token(now())
    token = new.stored.token
    await stores.tokens.create(new)

    first = await stores.tokens.end_sad(token.merchant_id, token.token_id, nothing)
    stored = await stores.tokens.get(token.merchant_id, token.token_id)
    second = await stores.tokens.end_sad(token.merchant_id, token.token_id, nothing)

    assert first is not None
    assert second == first
    assert stored is not None
    assert (stored.sealed_sad, stored.sad_destroyed_at) == (None, first.destroyed_at)
    assert stored.sealed_pan == new.stored.sealed_pan
    # No epoch key is in its table here: then the longest epoch and the longest life of SAD are what is certain.
    assert first.unrecoverable_from == token.created_at + timedelta(hours=48, minutes=1)


async def test_sad_that_is_not_there_does_not_end(stores: Stores) -> None:
    without = new_token(now(), sad_ttl=None)
    unknown = new_token(now())
    others = new_token(now(), merchant_id="m_2")
    for new in (without, others):
        await stores.tokens.create(new)
    recorded = []

    async def record() -> None:
        recorded.append("recorded")

    for new in (without, unknown, others):
        name = new.stored.token.token_id
        assert await stores.tokens.end_sad(MerchantId("m_1"), name, record) is None
    assert recorded == []


async def test_sad_lives_on_when_its_end_cannot_be_recorded(stores: Stores) -> None:
    new = new_token(now())
    token = new.stored.token
    await stores.tokens.create(new)

    async def fails() -> None:
        raise AuditUnavailableError

    with pytest.raises(AuditUnavailableError):
        await stores.tokens.end_sad(token.merchant_id, token.token_id, fails)

    assert await stores.tokens.get(token.merchant_id, token.token_id) == new.stored


async def test_the_sad_of_a_revoked_token_ended_with_it(stores: Stores) -> None:
    new = new_token(now())
    token = new.stored.token
    await stores.tokens.create(new)
    await stores.tokens.revoke(token.merchant_id, token.token_id)
    revoked = await stores.tokens.get(token.merchant_id, token.token_id)

    end = await stores.tokens.end_sad(token.merchant_id, token.token_id, nothing)

    assert revoked is not None
    assert end is not None
    assert end.destroyed_at == revoked.sad_destroyed_at


async def test_while_its_end_is_recorded_sad_is_not_released(stores: Stores) -> None:
    new = new_token(now())
    token = new.stored.token
    await stores.tokens.create(new)
    outcomes: list[object] = []

    async def release_meanwhile() -> None:
        release = asyncio.ensure_future(
            stores.audit_log.record_release(release_of(token), with_sad=True)
        )
        # On PostgreSQL it waits for the row.
        await asyncio.wait({release}, timeout=0.2)
        outcomes.append(release)

    await stores.tokens.end_sad(token.merchant_id, token.token_id, release_meanwhile)

    (release,) = outcomes
    assert isinstance(release, asyncio.Future)
    with pytest.raises(TokenChangedError):
        await release
    await stores.audit_log.record_release(release_of(token), with_sad=False)
