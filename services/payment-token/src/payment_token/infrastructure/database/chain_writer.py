"""One process's chain of audit records, written in batches, one on its way at a time.

Records are hashed before they are sent, so a batch comes into the log as a whole or not at all. An idle service sends a
record at once; a busy one fills its batches, and pays one commit for all of them.

The log may say too much, and never too little. When it is not known whether a batch came in (the connection broke, the
database did not answer in time), nothing of it is released; its writer is given up, for good, and another one begins
with records that take the releases of that batch back. Likewise for a release whose caller had been given up meanwhile.
What is in doubt stays so until the database has taken the record that takes it back, whether anybody asks for a record or not.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from uuid import UUID

from payment_token.domain.audit import AuditEvent, Chain, Outcome, Receipt, Record, not_released
from payment_token.domain.errors import AuditUnavailableError
from payment_token.domain.ports import Clock

logger = logging.getLogger(__name__)

BOUND_SECONDS = 2.0
"""Whoever waits for a record is told by then that there is none to be had."""

OPENING_SECONDS = 0.9
BATCH_SECONDS = 1.6
"""What the port ends by itself; the writer's own bounds are for a port that hangs all the same."""

_MOST = 256
_WAITING = 500
_IN_DOUBT = 5_000
_MARGIN_SECONDS = 0.2
_RETRY_SECONDS = 1.0


class NotWrittenError(Exception):
    """The database did not take the batch, and will not."""


class OutcomeUnknownError(Exception):
    """The batch may be in the log, or come into it yet."""


@dataclass(frozen=True, slots=True)
class LiveToken:
    """What must hold as a release is written: its token is active and unexpired, and its SAD live if that goes out."""

    merchant_id: str
    token_id: str
    purge_day: date
    with_sad: bool


class Insert(Protocol):
    async def __call__(
        self, records: Sequence[Record], live: Sequence[LiveToken | None]
    ) -> Collection[int]:
        """Writes all records durably, or none when a token is not live or is being changed: gives their sequences.

        Raises NotWrittenError when it is certain that none was written, OutcomeUnknownError (or whatever) when it is not.
        """
        ...


class _Entry:
    """An event that waits for its record."""

    __slots__ = ("event", "live", "outcome")

    def __init__(
        self,
        event: AuditEvent,
        live: LiveToken | None,
        outcome: "asyncio.Future[Record | None]",
    ) -> None:
        self.event = event
        self.live = live
        self.outcome = outcome

    def fail(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(AuditUnavailableError())


class ChainWriter:
    """For one event loop. ``opening`` gives the first event of a new writer."""

    def __init__(
        self,
        insert: Insert,
        opening: Callable[[], Awaitable[AuditEvent]],
        clock: Clock,
        new_writer_id: Callable[[], UUID],
    ) -> None:
        self._insert = insert
        self._opening = opening
        self._clock = clock
        self._new_writer_id = new_writer_id
        self._chain: Chain | None = None
        self._waiting: deque[_Entry] = deque()
        self._in_doubt: deque[tuple[AuditEvent, Receipt]] = deque()
        self._lane: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._last: _Entry | None = None
        self.is_failing = False
        """The database did not take the last batch that it was sent."""

    async def write(
        self, event: AuditEvent, live: LiveToken | None = None, *, within: float = BOUND_SECONDS
    ) -> Record | None:
        """Returns the record once it is durable, ``None`` when the token is not live or is just being changed.

        Raises AuditUnavailableError, after ``within`` seconds at the latest.
        """
        if (
            len(self._waiting) >= _WAITING
            or len(self._in_doubt) >= _IN_DOUBT
            or self._last is not None
        ):
            raise AuditUnavailableError
        entry = self._new_entry(event, live)
        self._waiting.append(entry)
        return await self._outcome_of(entry, within)

    def take_back(self, event: AuditEvent, receipt: Receipt) -> None:
        """The record says that card data was released, and it was not: a record that says so follows."""
        self._in_doubt.append((event, receipt))
        self._go_on()

    async def close(self, event: AuditEvent) -> None:
        """Writes the last record of this writer, after all that waits or is in doubt. Nothing is written afterwards.

        Raises AuditUnavailableError.
        """
        self._last = self._new_entry(event, None)
        try:
            await self._outcome_of(self._last, BOUND_SECONDS)
        finally:
            if self._retry is not None:
                self._retry.cancel()
            if self._in_doubt:
                logger.error(
                    "releases whose answers never left could not be taken back",
                    extra={"releases": len(self._in_doubt)},
                )

    def _new_entry(self, event: AuditEvent, live: LiveToken | None) -> _Entry:
        return _Entry(event, live, asyncio.get_running_loop().create_future())

    async def _outcome_of(self, entry: _Entry, within: float) -> Record | None:
        timer = asyncio.get_running_loop().call_later(within, entry.fail)
        self._go_on()
        try:
            return await entry.outcome
        except asyncio.CancelledError:
            # Its record may have come just before, and now nobody hears of it.
            record = _record_of(entry)
            if record is not None and _releases(record):
                self.take_back(record.event, record.receipt)
            raise
        finally:
            timer.cancel()

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting or self._in_doubt) or (
            self._last is not None and not self._last.outcome.done()
        )

    def _go_on(self) -> None:
        if self._lane is None and self._has_work:
            self._lane = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            written = True
            while written and self._has_work:
                # Whoever is ready to join does so first.
                await asyncio.sleep(0)
                written = await self._write_batch(self._next_batch())
        finally:
            self._lane = None
            if self._waiting:
                self._go_on()
            elif self._has_work:
                self._go_on_later()

    def _go_on_later(self) -> None:
        if self._last is not None and self._last.outcome.done():
            return
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._go_on)

    def _next_batch(self) -> list[_Entry]:
        batch: list[_Entry] = []
        while self._waiting and len(batch) < _MOST:
            entry = self._waiting.popleft()
            if not entry.outcome.done():
                batch.append(entry)
        last = self._last
        if not batch and not self._in_doubt and last is not None and not last.outcome.done():
            if self._chain is not None and self._chain.is_open:
                return [last]
            last.outcome.set_result(None)
        return batch

    async def _write_batch(self, batch: list[_Entry]) -> bool:
        """``False`` when the database does not take records just now."""
        doubts = list(self._in_doubt)[:_MOST]
        if not batch and not doubts:
            return True
        chain = self._chain or Chain(self._new_writer_id())
        try:
            ahead = [] if chain.is_open else [await self._opened()]
            ahead += [not_released(event, receipt) for event, receipt in doubts]
            records = chain.draft([*ahead, *(entry.event for entry in batch)], self._clock.now())
        # Nothing was sent. A defect of ours must not end the lane: whoever waits would hear nothing.
        except Exception as error:  # noqa: BLE001
            self._note_failure(chain, error, given_up=False)
            _fail(batch)
            return False
        own = records[len(ahead) :]
        # Until it is known what came of the batch, nobody may go on from this chain.
        self._chain = None
        try:
            async with asyncio.timeout(BATCH_SECONDS + _MARGIN_SECONDS):
                not_live = await self._insert(
                    records, [*(None for _ in ahead), *(entry.live for entry in batch)]
                )
        except NotWrittenError as error:
            self._chain = chain
            self._note_failure(chain, error, given_up=False)
            _fail(batch)
            return False
        # Whatever it was: the batch may be in the log, now or in a while.
        except Exception as error:  # noqa: BLE001
            self._note_failure(chain, error, given_up=True)
            self._in_doubt += [(each.event, each.receipt) for each in own if _releases(each)]
            _fail(batch)
            return False
        self._chain = chain
        self.is_failing = False
        if not_live:
            self._sort_out(batch, own, not_live)
            return True
        chain.advance(records[-1])
        for _ in doubts:
            self._in_doubt.popleft()
        if self._last in batch:
            self._chain = None
        self._hand_out(batch, own)
        return True

    async def _opened(self) -> AuditEvent:
        async with asyncio.timeout(OPENING_SECONDS + _MARGIN_SECONDS):
            return await self._opening()

    def _note_failure(self, chain: Chain, error: Exception, *, given_up: bool) -> None:
        self.is_failing = True
        logger.warning(
            "an audit writer is given up" if given_up else "audit records are not written",
            extra={"writer": chain.writer_id.hex, "fault": type(error).__name__},
        )

    def _sort_out(
        self, batch: list[_Entry], records: list[Record], not_live: Collection[int]
    ) -> None:
        """The others go again, in their order."""
        for entry, record in zip(reversed(batch), reversed(records), strict=True):
            if record.sequence not in not_live:
                self._waiting.appendleft(entry)
            elif not entry.outcome.done():
                entry.outcome.set_result(None)

    def _hand_out(self, batch: list[_Entry], records: list[Record]) -> None:
        for entry, record in zip(batch, records, strict=True):
            if not entry.outcome.done():
                entry.outcome.set_result(record)
            elif _releases(record):
                self._in_doubt.append((record.event, record.receipt))


def _fail(batch: list[_Entry]) -> None:
    for entry in batch:
        entry.fail()


def _releases(record: Record) -> bool:
    return record.event.outcome is Outcome.RELEASED


def _record_of(entry: _Entry) -> Record | None:
    outcome = entry.outcome
    if not outcome.done() or outcome.cancelled() or outcome.exception() is not None:
        return None
    return outcome.result()
