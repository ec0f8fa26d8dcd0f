"""One writer's batches against a database that does what a test says: what is acknowledged is in the log, once."""

import asyncio
import itertools
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from uuid import UUID

import pytest

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome, Record
from payment_token.domain.errors import AuditUnavailableError, DatabaseUnavailableError
from payment_token.domain.identifiers import RequestId
from payment_token.infrastructure.database import chain_writer
from payment_token.infrastructure.database.chain_writer import (
    ChainWriter,
    LiveToken,
    NotWrittenError,
    OutcomeUnknownError,
)
from tests.support.audit_chain import Row, check_chains, check_releases
from tests.support.long_form import usual_or_long

WORKER = Actor("spiffe://example.org/w", "127.0.0.1:5", b"\x01" * 32)
LIVE = LiveToken("m_1", "pt_1", datetime(2026, 1, 1, tzinfo=UTC).date(), with_sad=False)
CLOSED = AuditEvent(EventKind.LOG_CLOSED, Outcome.DONE, WORKER)


class Fault(Enum):
    REFUSES = auto()
    LOSES_IT = auto()
    TAKES_IT_UNSEEN = auto()


class Database:
    """Takes every batch, but for what ``faults`` say of the next ones, and not before ``open`` is set."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.batches: list[list[Record]] = []
        self.faults: Iterator[Fault | None] = iter(())
        self.dead: set[str] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.opening_fault: Exception | None = None

    async def insert(
        self, records: Sequence[Record], live: Sequence[LiveToken | None]
    ) -> Collection[int]:
        self.batches.append(list(records))
        fault = next(self.faults, None)
        await self.open.wait()
        await asyncio.sleep(0)
        if fault is Fault.REFUSES:
            raise NotWrittenError
        if fault is Fault.LOSES_IT:
            raise OutcomeUnknownError
        dead = [
            record.sequence
            for record, token in zip(records, live, strict=True)
            if token is not None and record.event.request_id in self.dead
        ]
        if not dead:
            self._take(records)
        if fault is Fault.TAKES_IT_UNSEEN:
            raise OutcomeUnknownError
        return dead

    def _take(self, records: Sequence[Record]) -> None:
        there = {(row.writer, row.sequence) for row in self.rows}
        for record in records:
            assert (record.writer_id.hex, record.sequence) not in there, "a chain forks"
            self.rows.append(Row(record.writer_id.hex, record.sequence, record.text))

    async def opening(self) -> AuditEvent:
        if self.opening_fault is not None:
            raise self.opening_fault
        return AuditEvent(EventKind.LOG_OPENED, Outcome.DONE, WORKER)

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    @property
    def log(self) -> list[tuple[int, str]]:
        """Which writer, by the order of their first records, and what of."""
        writers = list(dict.fromkeys(row.writer for row in self.rows))
        return [
            (writers.index(row.writer), row.parsed.get("request_id", row.parsed["event"]))
            for row in self.rows
            if row.parsed["event"] != "not_released"
        ]

    @property
    def taken_back(self) -> list[str]:
        return [
            row.parsed["request_id"] for row in self.rows if row.parsed["event"] == "not_released"
        ]


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
def writer(database: Database, monkeypatch: pytest.MonkeyPatch) -> ChainWriter:
    monkeypatch.setattr(chain_writer, "_RETRY_SECONDS", 0.01)
    return new_writer(database)


def new_writer(database: Database) -> ChainWriter:
    numbers = itertools.count(1)
    return ChainWriter(database.insert, database.opening, database, lambda: UUID(int=next(numbers)))


def release(name: str) -> AuditEvent:
    return AuditEvent(EventKind.DECRYPT, Outcome.RELEASED, WORKER, request_id=RequestId(name))


def refusal(name: str) -> AuditEvent:
    return replace(release(name), outcome=Outcome.REFUSED, code="forbidden")


def begun(writer: ChainWriter, *names: str) -> list["asyncio.Task[Record | None]"]:
    return [asyncio.ensure_future(writer.write(release(name))) for name in names]


async def settle(until: float = 0.0) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    if until:
        await asyncio.sleep(until)


async def receipt_of(writer: ChainWriter, event: AuditEvent) -> str:
    record = await writer.write(event)
    assert record is not None
    return str(record.receipt)


async def test_batches_are_one_chain(database: Database, writer: ChainWriter) -> None:
    database.open.clear()
    first = begun(writer, "a")
    await settle()
    others = begun(writer, "b", "c")
    await settle()
    database.open.set()

    records = await asyncio.gather(*first, *others)

    assert [len(batch) for batch in database.batches] == [2, 2]
    assert database.log == [(0, "log_opened"), (0, "a"), (0, "b"), (0, "c")]
    check_chains(database.rows)
    check_releases(database.rows, [str(record.receipt) for record in records if record])


async def test_a_refusal_of_the_database_keeps_the_writer(
    database: Database, writer: ChainWriter
) -> None:
    await writer.write(release("a"))
    database.faults = iter([Fault.REFUSES])
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("b"))
    assert writer.is_failing

    await writer.write(release("c"))

    assert database.log == [(0, "log_opened"), (0, "a"), (0, "c")]
    assert not database.taken_back
    assert not writer.is_failing
    check_chains(database.rows)


async def test_a_first_batch_that_is_refused_opens_nothing(
    database: Database, writer: ChainWriter
) -> None:
    database.faults = iter([Fault.REFUSES])
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("a"))

    await writer.write(release("b"))

    assert database.log == [(0, "log_opened"), (0, "b")]


@pytest.mark.parametrize("fault", [Fault.LOSES_IT, Fault.TAKES_IT_UNSEEN])
async def test_what_is_not_known_ends_the_writer_and_is_taken_back(
    database: Database, writer: ChainWriter, fault: Fault
) -> None:
    answered = [await receipt_of(writer, release("a"))]
    database.faults = iter([fault])
    outcomes = await asyncio.gather(
        writer.write(release("b")),
        writer.write(refusal("c")),
        writer.write(release("d")),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {AuditUnavailableError}

    answered.append(await receipt_of(writer, release("e")))

    assert database.taken_back == ["b", "d"]
    assert database.log[-2:] == [(1, "log_opened"), (1, "e")]
    check_chains(database.rows)
    check_releases(database.rows, answered)


async def test_doubts_outlast_a_database_that_stays_away(
    database: Database, writer: ChainWriter
) -> None:
    """They are settled once it is back, and nobody needs to ask for a record."""
    database.faults = iter([Fault.TAKES_IT_UNSEEN, *[Fault.REFUSES] * 3, Fault.LOSES_IT])
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("a"))
    for name in ("b", "c"):
        with pytest.raises(AuditUnavailableError):
            await writer.write(release(name))

    await settle(until=0.1)

    assert "a" in database.taken_back
    check_chains(database.rows)
    check_releases(database.rows, [])
    assert writer._lane is None
    assert not writer.is_failing


async def test_an_outage_does_not_pile_up_attempts(database: Database, writer: ChainWriter) -> None:
    """Each request that fails may begin an attempt; the attempts between them are one each pause, however many failed."""
    database.faults = itertools.chain([Fault.LOSES_IT], itertools.repeat(Fault.REFUSES))
    for number in range(50):
        with pytest.raises(AuditUnavailableError):
            await writer.write(release(str(number)))
    before = len(database.batches)

    await settle(until=0.2)

    assert len(database.batches) - before < 30
    database.faults = iter(())
    await settle(until=0.05)
    assert database.taken_back == ["0"]


async def test_a_batch_that_hangs_is_given_up(
    database: Database, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_writer, "BATCH_SECONDS", -0.1)
    database.open.clear()
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("a"), within=0.5)
    database.open.set()

    await writer.write(release("b"))

    assert database.taken_back == ["a"]


async def test_an_opening_that_hangs_is_given_up(
    database: Database, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_writer, "OPENING_SECONDS", -0.1)
    opening = database.opening

    async def hangs() -> AuditEvent:
        await asyncio.Event().wait()
        return CLOSED

    writer._opening = hangs
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("a"), within=0.5)
    writer._opening = opening

    await writer.write(release("b"))

    assert database.log == [(0, "log_opened"), (0, "b")]


@pytest.mark.parametrize("fault", [DatabaseUnavailableError(), ZeroDivisionError()])
async def test_an_opening_that_fails_is_tried_again(
    database: Database, writer: ChainWriter, fault: Exception
) -> None:
    database.opening_fault = fault
    outcomes = await asyncio.gather(*begun(writer, "a", "b"), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuditUnavailableError}
    database.opening_fault = None

    await writer.write(release("c"))

    assert database.log == [(0, "log_opened"), (0, "c")]


async def test_whoever_waits_too_long_hears_so_and_what_lands_is_taken_back(
    database: Database, writer: ChainWriter
) -> None:
    database.open.clear()
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("a"), within=0.02)
    with pytest.raises(AuditUnavailableError):
        await writer.write(refusal("not yet begun"), within=0.02)
    database.open.set()
    await settle()

    assert database.log == [(0, "log_opened"), (0, "a")]
    assert database.taken_back == ["a"]
    check_releases(database.rows, [])


async def test_whoever_is_cancelled_meanwhile_is_taken_back(
    database: Database, writer: ChainWriter
) -> None:
    database.open.clear()
    given_up, other = begun(writer, "a", "b")
    await settle()
    given_up.cancel()
    database.open.set()
    record = await other
    await settle()

    assert record is not None
    assert database.taken_back == ["a"]
    check_releases(database.rows, [str(record.receipt)])


async def test_whoever_is_cancelled_before_the_batch_is_not_in_it(
    database: Database, writer: ChainWriter
) -> None:
    database.open.clear()
    first = begun(writer, "a")
    await settle()
    given_up, other = begun(writer, "b", "c")
    await settle()
    given_up.cancel()
    database.open.set()
    await asyncio.gather(*first, other)

    assert [name for _, name in database.log] == ["log_opened", "a", "c"]
    assert not database.taken_back


async def test_whoever_is_cancelled_as_the_record_comes_is_taken_back(
    database: Database, writer: ChainWriter
) -> None:
    """The record is there, its caller has not gone on yet, and never will."""
    await writer.write(release("a"))
    ended: list[asyncio.Task[Record | None]] = []
    hand_out = writer._hand_out

    def hand_out_and_cancel(*arguments: list) -> None:
        hand_out(*arguments)
        ended[0].cancel()

    writer._hand_out = hand_out_and_cancel
    ended += begun(writer, "b")
    await asyncio.gather(*ended, return_exceptions=True)
    await settle()

    assert ended[0].cancelled()
    assert database.taken_back == ["b"]


async def test_what_is_not_live_is_sorted_out_and_the_others_keep_their_order(
    database: Database, writer: ChainWriter
) -> None:
    database.open.clear()
    first = begun(writer, "first")
    await settle()
    database.dead = {"b", "d"}
    others = [asyncio.ensure_future(writer.write(release(name), LIVE)) for name in "abcde"]
    await settle()
    later = begun(writer, "later")
    database.open.set()

    await asyncio.gather(*first, *later)
    outcomes = await asyncio.gather(*others)

    assert [outcome is None for outcome in outcomes] == [False, True, False, True, False]
    assert [name for _, name in database.log] == ["log_opened", "first", *"ace", "later"]
    check_chains(database.rows)


async def test_more_than_may_wait_are_sent_away(database: Database, writer: ChainWriter) -> None:
    database.open.clear()
    first = begun(writer, "first")
    await settle()
    waiting = begun(writer, *map(str, range(500)))
    await settle()

    with pytest.raises(AuditUnavailableError):
        await writer.write(release("one more"))
    database.open.set()
    assert all(await asyncio.gather(*first, *waiting))
    assert len(database.batches) == 3


async def test_with_too_many_doubts_nothing_is_released(
    database: Database, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_writer, "_IN_DOUBT", 3)
    database.faults = itertools.repeat(Fault.LOSES_IT)
    await asyncio.gather(*begun(writer, *"abc"), return_exceptions=True)
    before = len(database.batches)
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("d"))
    assert len(database.batches) == before
    database.faults = iter(())
    await settle(until=0.05)

    await writer.write(release("e"))

    assert set(database.taken_back) == {"a", "b", "c"}


async def test_more_doubts_than_fit_into_a_batch_are_all_settled(
    database: Database, writer: ChainWriter
) -> None:
    database.faults = iter([Fault.TAKES_IT_UNSEEN, Fault.TAKES_IT_UNSEEN, Fault.TAKES_IT_UNSEEN])
    names = [str(number) for number in range(400)]
    await asyncio.gather(*begun(writer, *names), return_exceptions=True)

    await writer.close(CLOSED)

    assert set(database.taken_back) == set(names)
    check_chains(database.rows)
    check_releases(database.rows, [])
    assert database.rows[-1].parsed["event"] == "log_closed"


async def test_the_end_is_the_last_record(database: Database, writer: ChainWriter) -> None:
    database.open.clear()
    in_progress = begun(writer, "a", "b")
    await settle()
    in_progress += begun(writer, "c")
    closing = asyncio.ensure_future(writer.close(CLOSED))
    await settle()
    with pytest.raises(AuditUnavailableError):
        await writer.write(release("too late"))
    database.open.set()
    await asyncio.gather(closing, *in_progress)

    assert [name for _, name in database.log] == ["log_opened", *"abc", "log_closed"]


async def test_a_writer_that_wrote_nothing_ends_without_a_word(
    database: Database, writer: ChainWriter
) -> None:
    await writer.close(CLOSED)

    assert not database.batches


async def test_an_end_that_nobody_takes_is_not_waited_for(
    database: Database, writer: ChainWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_writer, "BOUND_SECONDS", 0.05)
    await writer.write(release("a"))
    database.faults = itertools.repeat(Fault.LOSES_IT)
    await asyncio.gather(*begun(writer, "b"), return_exceptions=True)

    with pytest.raises(AuditUnavailableError):
        await writer.close(CLOSED)

    # A batch may still be on its way then, and is the last.
    await settle()
    before = len(database.batches)
    await settle(until=0.05)
    assert len(database.batches) == before


async def test_what_comes_to_be_in_doubt_after_the_end_has_a_writer_of_its_own(
    database: Database, writer: ChainWriter
) -> None:
    record = await writer.write(release("a"))
    assert record is not None
    await writer.close(CLOSED)

    writer.take_back(record.event, record.receipt)
    await settle()

    check_chains(database.rows)
    assert database.taken_back == ["a"]


def faults_by(chance: random.Random) -> Iterator[Fault | None]:
    severity = chance.choice((0.0, 0.2, 0.6))
    while True:
        yield chance.choice(list(Fault)) if chance.random() < severity else None


async def _storm(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - so that a storm can be had again
    database = Database()
    writer = new_writer(database)
    database.faults = faults_by(chance)
    answered: list[str] = []

    async def ask(number: int) -> None:
        name = f"r{number}"
        if chance.random() < 0.1:
            database.dead.add(name)
        event = chance.choice((release, refusal))(name)
        live = chance.choice((LIVE, None))
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        try:
            record = await writer.write(event, live, within=chance.choice((2.0, 2.0, 0.001)))
        except AuditUnavailableError:
            return
        if record is None:
            assert (name in database.dead, live) == (True, LIVE)
        elif event.outcome is Outcome.RELEASED:
            answered.append(str(record.receipt))

    asking = [asyncio.ensure_future(ask(number)) for number in range(150)]
    for task in chance.sample(asking, 15):
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    database.faults = iter(())
    await writer.close(CLOSED)

    chains = check_chains(database.rows)
    check_releases(database.rows, answered)
    assert sum(chain[-1]["event"] == "log_closed" for chain in chains.values()) <= 1


@pytest.mark.parametrize("seed", range(usual_or_long(40, 2000)))
def test_a_storm_of_faults(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_writer, "_RETRY_SECONDS", 0.002)
    asyncio.run(_storm(seed))
