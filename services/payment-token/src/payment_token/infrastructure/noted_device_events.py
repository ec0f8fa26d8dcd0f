"""Events of terminals on their way to the database: counted here, written a second later, so that no refusal waits for it.

Whoever holds an API key can make as many events as it sends requests, each of another terminal. So equal ones are counted
up, those of one caller name no more than some terminals a minute, and a process writes no more than some rows a minute:
a flood costs neither memory nor disk, and hides nobody else's events. What is not kept is counted in a metric.

A process that dies takes its last second with it, and what cannot be written is lost: an event is news, the audit log is
the record.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.recorded_events import CountedEvent, without_card_data

logger = logging.getLogger(__name__)

WRITE_INTERVAL_SECONDS = 1.0

# Of one caller, kind and merchant; further terminals share a row that names none.
DEVICES_A_MINUTE = 100
ROWS_A_MINUTE = 3_000

_ROWS_AT_ONCE = 500
# A server that is frozen bounds no statement, and what waits for it would grow.
_WRITE_SECONDS = 5.0

_MINUTE_SECONDS = 60.0


class EventStore(Protocol):
    async def write(self, counted: Sequence[CountedEvent]) -> None:
        """Raises DatabaseUnavailableError."""
        ...


class EventCounts(Protocol):
    """What operators see of events, whether they are kept or not."""

    def noted(self, kind: DeviceEventKind) -> None: ...

    def lost(self, reason: str, events: int) -> None:
        """``reason`` is "flood" or "database"."""
        ...


class _Caller(NamedTuple):
    kind: DeviceEventKind
    merchant_id: MerchantId
    api_key_id: str


class _Name(NamedTuple):
    """What makes two events of a minute equal."""

    caller: _Caller
    device_id: DeviceId


class _Counted:
    __slots__ = ("count", "event")

    def __init__(self, event: DeviceEvent) -> None:
        self.event = event
        self.count = 0


class NotedDeviceEvents:
    """For one event loop. ``seconds`` is a monotonic clock. The contract is :class:`DeviceEvents`."""

    def __init__(
        self,
        store: EventStore,
        counts: EventCounts,
        seconds: Callable[[], float],
        *,
        devices_a_minute: int = DEVICES_A_MINUTE,
        rows_a_minute: int = ROWS_A_MINUTE,
    ) -> None:
        self._store = store
        self._counts = counts
        self._seconds = seconds
        self._devices_a_minute = devices_a_minute
        self._rows_a_minute = rows_a_minute
        self._unwritten: dict[_Name, _Counted] = {}
        # Of the minute that began at ``_began``: who has a row, and how many of them each caller has.
        self._began = seconds()
        self._rows: set[_Name] = set()
        self._devices: dict[_Caller, int] = {}

    async def note(self, event: DeviceEvent) -> None:
        self._counts.noted(event.kind)
        event = without_card_data(event)
        name = self._row_of(event)
        if name is None:
            self._counts.lost("flood", 1)
            return
        counted = self._unwritten.get(name)
        if counted is None:
            if name.device_id != event.device_id:
                # It stands for many, of whatever KSN.
                event = replace(event, device_id=name.device_id, ksn="")
            counted = self._unwritten[name] = _Counted(event)
        counted.count += 1

    async def write(self) -> None:
        """What was noted since it was last called. What cannot be written is lost, and no error."""
        unwritten, self._unwritten = self._unwritten, {}
        while unwritten:
            some = dict(itertools.islice(unwritten.items(), _ROWS_AT_ONCE))
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._store.write(
                        [CountedEvent(each.event, each.count) for each in some.values()]
                    )
            except PaymentTokenError as error:
                self._lose(unwritten, error.code)
                return
            except TimeoutError:
                self._lose(unwritten, "timeout")
                return
            except asyncio.CancelledError:
                # Perhaps they are there: a count may be too high, and never too low.
                self._unwritten = unwritten | self._unwritten
                raise
            for name in some:
                del unwritten[name]

    def _lose(self, unwritten: Mapping[_Name, _Counted], code: str) -> None:
        events = sum(each.count for each in unwritten.values())
        self._counts.lost("database", events)
        logger.warning("device events are lost", extra={"events": events, "code": code})

    def _row_of(self, event: DeviceEvent) -> _Name | None:
        """``None`` where there are too many rows already."""
        now = self._seconds()
        if now - self._began >= _MINUTE_SECONDS:
            self._began = now
            self._rows.clear()
            self._devices.clear()
        caller = _Caller(event.kind, event.merchant_id, event.api_key_id)
        name = _Name(caller, event.device_id)
        if name in self._rows:
            return name
        if self._devices.get(caller, 0) >= self._devices_a_minute:
            name = _Name(caller, DeviceId(""))
        if name not in self._rows:
            if len(self._rows) >= self._rows_a_minute:
                return None
            self._rows.add(name)
            self._devices[caller] = self._devices.get(caller, 0) + 1
        return name
