"""What of a batch is released without an answer that leaves is taken back, however that comes about."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from payment_token.api.audited_release import Attempt
from payment_token.api.batch import Batches
from payment_token.api.released_batch import released_batch
from payment_token.domain.audit import AuditEvent, EventKind, Outcome, Receipt
from payment_token.domain.errors import AuditUnavailableError, InvalidFieldError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.release import Released, ReleaseRequest
from payment_token.domain.worker_policy import ReleaseField, Worker
from tests.support.use_cases import MERCHANT, World

WORKER = Worker("spiffe://w", b"\x01" * 32, "127.0.0.1:5")


@pytest.fixture
def world() -> World:
    return World()


async def requests_of(world: World, number: int) -> list[Callable[[], ReleaseRequest]]:
    tokens = [(await world.tokenise(world.request())).token for _ in range(number)]
    return [
        partial(
            ReleaseRequest,
            token.token_id.text,
            MERCHANT,
            "capture",
            frozenset({ReleaseField.PAN}),
        )
        for token in tokens
    ]


def wrong() -> ReleaseRequest:
    raise InvalidFieldError("purpose", "is required")


def recorded(world: World) -> list[tuple[str | None, EventKind, Outcome]]:
    return sorted((event.request_id, event.kind, event.outcome) for event in world.audit_log.events)


async def test_each_has_its_outcome_and_its_record(world: World) -> None:
    first, last = await requests_of(world, 2)

    outcomes = await released_batch(
        world.release,
        Batches(),
        Attempt(WORKER, RequestId("r")),
        [first, wrong, last],
        lambda: False,
    )

    assert [type(outcomes[place]) for place in range(3)] == [
        Released,
        InvalidFieldError,
        Released,
    ]
    assert recorded(world) == [
        ("r:item0", EventKind.DECRYPT, Outcome.RELEASED),
        ("r:item1", EventKind.DECRYPT, Outcome.REFUSED),
        ("r:item2", EventKind.DECRYPT, Outcome.RELEASED),
    ]


def check_taken_back(world: World, released: int) -> None:
    kinds = [event.kind for event in world.audit_log.events]
    assert kinds.count(EventKind.DECRYPT) == kinds.count(EventKind.NOT_RELEASED) == released
    taken_back = {
        event.details["sequence"]
        for event in world.audit_log.events
        if event.kind is EventKind.NOT_RELEASED
    }
    assert taken_back == {receipt.sequence for receipt in world.audit_log.receipts}


async def test_all_of_a_batch_whose_caller_is_gone_is_taken_back(world: World) -> None:
    requests = await requests_of(world, 3)
    gone: list[bool] = []

    def is_given_up() -> bool:
        # It goes once the last item is done: each asks when it begins and when it ends.
        gone.append(True)
        return len(gone) > 2 * len(requests)

    with pytest.raises(AuditUnavailableError):
        await released_batch(
            world.release, Batches(), Attempt(WORKER, RequestId("r")), requests, is_given_up
        )

    check_taken_back(world, released=3)


async def test_all_of_a_batch_that_is_cancelled_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = await requests_of(world, 3)
    record_release = world.audit_log.record_release
    waiting, let_go = asyncio.Event(), asyncio.Event()

    async def record_slowly(event: AuditEvent, *, with_sad: bool) -> Receipt:
        receipt = await record_release(event, with_sad=with_sad)
        if event.request_id == "r:item2":
            waiting.set()
            await let_go.wait()
        return receipt

    monkeypatch.setattr(world.audit_log, "record_release", record_slowly)
    batch = asyncio.create_task(
        released_batch(
            world.release, Batches(), Attempt(WORKER, RequestId("r")), requests, lambda: False
        )
    )
    await waiting.wait()

    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch

    # Two were done; the third one's record comes, and nobody hears of it.
    let_go.set()
    await asyncio.sleep(0.05)
    check_taken_back(world, released=3)


async def test_nothing_more_is_begun_for_a_caller_that_is_gone(world: World) -> None:
    requests = await requests_of(world, 3)

    with pytest.raises(AuditUnavailableError):
        await released_batch(
            world.release, Batches(), Attempt(WORKER, RequestId("r")), requests, lambda: True
        )

    assert world.audit_log.events == []
