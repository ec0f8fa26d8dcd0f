"""Requests over limits are all accounted for, by a number of records that does not depend on how many there are."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import AuditUnavailableError, OverWorkerLimitError
from payment_token.domain.identifiers import RequestId
from payment_token.domain.limit_refusals import LimitRefusals
from payment_token.domain.worker_limits import Limit
from tests.fakes.memory_audit_log import MemoryAuditLog
from tests.fakes.memory_token_store import MemoryTokenStore


class Log:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.audit_log = MemoryAuditLog(MemoryTokenStore(self.now, timedelta(hours=1)), self.now)
        self.noted: list[tuple[str, str]] = []
        self.refusals = LimitRefusals(
            self.audit_log, self, lambda limit, worker: self.noted.append((limit, worker))
        )

    def now(self) -> datetime:
        return self.time

    async def refuse(
        self, number: int = 1, limit: Limit = Limit.RATE, worker: str = "spiffe://w"
    ) -> None:
        for place in range(number):
            event = AuditEvent(
                EventKind.DECRYPT,
                Outcome.REFUSED,
                Actor(worker, "127.0.0.1:5", b"\x01" * 32),
                code="rate_limited",
                request_id=RequestId(f"r-{place}"),
            )
            await self.refusals.record(event, OverWorkerLimitError(limit))

    @property
    def accounted_for(self) -> int:
        """Of how many refusals the log tells."""
        return sum(int(event.details.get("requests", 1)) for event in self.audit_log.events)


@pytest.fixture
def log() -> Log:
    return Log()


async def test_the_first_is_a_record_and_those_that_follow_a_count(log: Log) -> None:
    await log.refuse(1000)
    (first,) = log.audit_log.events
    assert (first.kind, first.request_id) == (EventKind.DECRYPT, "r-0")
    assert first.details == {"limit": "rate"}

    await log.refusals.record_counts()

    count = log.audit_log.events[1]
    assert (count.kind, count.outcome) == (EventKind.REQUESTS_REFUSED, Outcome.REFUSED)
    assert count.code == "rate_limited"
    assert count.actor == Actor("spiffe://w")
    assert count.details == {"limit": "rate", "requests": 999, "since": "2026-01-01T00:00:00Z"}
    assert log.noted == [("rate", "spiffe://w")] * 1000


async def test_an_hour_of_hammering_is_two_records_a_minute(log: Log) -> None:
    for _ in range(60):
        await log.refuse(5000)
        await log.refusals.record_counts()

    assert len(log.audit_log.events) == 120
    assert log.accounted_for == 300_000


async def test_one_refusal_is_one_record(log: Log) -> None:
    await log.refuse()
    await log.refusals.record_counts()
    await log.refusals.record_counts()

    assert len(log.audit_log.events) == 1


async def test_workers_and_limits_are_counted_apart(log: Log) -> None:
    await log.refuse(3)
    await log.refuse(4, Limit.BUDGET)
    await log.refuse(5, worker="spiffe://other")
    await log.refusals.record_counts()

    counts = {
        (event.actor.identity, event.details["limit"]): event.details["requests"]
        for event in log.audit_log.events
        if event.kind is EventKind.REQUESTS_REFUSED
    }
    assert counts == {
        ("spiffe://w", "rate"): 2,
        ("spiffe://w", "budget"): 3,
        ("spiffe://other", "rate"): 4,
    }


async def test_a_log_that_takes_no_record_loses_no_count(log: Log) -> None:
    await log.refuse(10)
    log.audit_log.fails = True
    for _ in range(3):
        with pytest.raises(AuditUnavailableError):
            await log.refusals.record_counts()
        await log.refuse(10)
    log.audit_log.fails = False
    await log.refusals.record_counts()

    assert log.accounted_for == 40


async def test_a_refusal_whose_record_is_due_and_cannot_be_written_is_an_outage(log: Log) -> None:
    log.audit_log.fails = True
    for _ in range(2):
        with pytest.raises(AuditUnavailableError):
            await log.refuse()
    log.audit_log.fails = False
    await log.refuse(3)
    await log.refusals.record_counts()

    assert log.accounted_for == 3


async def test_what_is_counted_while_the_first_record_fails_is_not_forgotten(log: Log) -> None:
    writing = asyncio.Event()

    async def slow_and_failing(event: AuditEvent) -> None:
        await writing.wait()
        raise AuditUnavailableError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log.audit_log, "record", slow_and_failing)
        first = asyncio.create_task(log.refuse())
        await asyncio.sleep(0)
        await log.refuse(4)
        writing.set()
        with pytest.raises(AuditUnavailableError):
            await first
    await log.refusals.record_counts()

    assert log.accounted_for == 4


async def test_a_count_that_is_cut_off_at_the_end_is_written_then(log: Log) -> None:
    await log.refuse(5)

    async def endless(event: AuditEvent) -> None:
        await asyncio.sleep(3600)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log.audit_log, "record", endless)
        counting = asyncio.create_task(log.refusals.record_counts())
        await asyncio.sleep(0)
        counting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await counting
    await log.refusals.record_counts()

    assert log.accounted_for == 5
