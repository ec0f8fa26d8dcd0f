"""One process's chain of audit records, written in batches, one on its way at a time.

Records are hashed before they are sent, so a batch comes into the log as a whole or not at all. An idle service sends a
record at once; a busy one fills its batches, and pays one commit for all of them.

The log may say too much, and never too little. When it is not known whether a batch came in (the connection broke, the
database did not answer in time), nothing of it is released; its writer is given up, for good, and another one begins
with records that take the releases of that batch back. Likewise for a release whose caller had been given up meanwhile.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from uuid import UUID

from payment_token.domain.audit import AuditEvent, Chain, EventKind, Outcome, Record
from payment_token.domain.errors import AuditUnavailableError, PaymentTokenError
from payment_token.domain.ports import Clock

logger = logging.getLogger(__name__)

BOUND_SECONDS = 2.0
"""Whoever waits for a record is told by then that there is none to be had."""

_MOST = 256
_WAITING = 500
_IN_DOUBT = 5_000
_BATCH_SECONDS = 1.8
_RETRY_SECONDS = 1.0


class NotWrittenError(Exception):
    """The database did not take the batch, and will not."""


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

        Raises NotWrittenError when it is certain that none was written, and anything else when it is not.
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
        self._in_doubt: deque[Record] = deque()
        self._lane: asyncio.Task[None] | None = None

    async def write(self, event: AuditEvent, live: LiveToken | None = None) -> Record | None:
        """Returns the record once it is durable, ``None`` when the token is not live or is just being changed.

        Raises AuditUnavailableError, after two seconds at the latest.
        """
        if len(self._waiting) >= _WAITING or len(self._in_doubt) >= _IN_DOUBT:
            raise AuditUnavailableError
        loop = asyncio.get_running_loop()
        entry = _Entry(event, live, loop.create_future())
        self._waiting.append(entry)
        timer = loop.call_later(BOUND_SECONDS, entry.fail)
        self._go_on()
        try:
            return await entry.outcome
        finally:
            timer.cancel()

    async def close(self, event: AuditEvent) -> None:
        """Writes the last record of this writer, if it wrote any. Raises AuditUnavailableError."""
        if self._chain is not None and self._chain.is_open:
            await self.write(event)
            self._chain = None

    def _go_on(self) -> None:
        if self._lane is None and (self._waiting or self._in_doubt):
            self._lane = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            written = True
            while written and (self._waiting or self._in_doubt):
                # Whoever is ready to join does so first.
                await asyncio.sleep(0)
                written = await self._write_batch(self._next_batch())
        finally:
            self._lane = None
            if self._in_doubt:
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._go_on)
            if self._waiting:
                self._go_on()

    def _next_batch(self) -> list[_Entry]:
        batch: list[_Entry] = []
        while self._waiting and len(batch) < _MOST:
            entry = self._waiting.popleft()
            if not entry.outcome.done():
                batch.append(entry)
        return batch

    async def _write_batch(self, batch: list[_Entry]) -> bool:
        """``False`` when the database does not take records just now."""
        chain = self._chain
        doubts = list(self._in_doubt)[:_MOST]
        try:
            if chain is None:
                chain = self._chain = Chain(self._new_writer_id())
            ahead = [] if chain.is_open else [await self._opening()]
            ahead += map(_taken_back, doubts)
            if not batch and not doubts:
                return True
            records = chain.draft([*ahead, *(entry.event for entry in batch)], self._clock.now())
        except PaymentTokenError:
            _fail(batch)
            return False
        live = [*(None for _ in ahead), *(entry.live for entry in batch)]
        try:
            async with asyncio.timeout(_BATCH_SECONDS):
                not_live = await self._insert(records, live)
        except NotWrittenError:
            _fail(batch)
            return False
        # Whatever it was: the batch may be in the log, now or in a while.
        except Exception as error:  # noqa: BLE001
            logger.warning(
                "an audit writer is given up",
                extra={"writer": chain.writer_id.hex, "fault": type(error).__name__},
            )
            self._chain = None
            self._in_doubt += [record for record in records[len(ahead) :] if _releases(record)]
            _fail(batch)
            return False
        if not_live:
            self._sort_out(batch, records[len(ahead) :], not_live)
            return True
        chain.advance(records[-1])
        for _ in doubts:
            self._in_doubt.popleft()
        self._hand_out(batch, records[len(ahead) :])
        return True

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
                self._in_doubt.append(record)


def _fail(batch: list[_Entry]) -> None:
    for entry in batch:
        entry.fail()


def _releases(record: Record) -> bool:
    return record.event.outcome is Outcome.RELEASED


def _taken_back(record: Record) -> AuditEvent:
    event = record.event
    return AuditEvent(
        kind=EventKind.NOT_RELEASED,
        outcome=Outcome.DONE,
        actor=event.actor,
        request_id=event.request_id,
        merchant_id=event.merchant_id,
        token_id=event.token_id,
        details={
            "writer_id": record.writer_id.hex,
            "sequence": record.sequence,
            "record_sha256": record.hash.hex(),
        },
    )
