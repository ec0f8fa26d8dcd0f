"""Events on their way to the database: counted, bounded, and lost rather than in the way."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.recorded_events import CountedEvent
from payment_token.infrastructure.noted_device_events import NotedDeviceEvents

PAN = "4111111111111111"
EVENT = DeviceEvent(
    DeviceEventKind.DECRYPTION_FAILED,
    MerchantId("m_1"),
    DeviceId("d_1"),
    "123456789012345600000001",
    "key-1",
    "luhn",
)


@dataclass
class World:
    """Store, metrics and clock of the events."""

    now: float = 0.0
    away: bool = False
    writes: list[Sequence[CountedEvent]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    lost_events: Counter[str] = field(default_factory=Counter)

    async def write(self, counted: Sequence[CountedEvent]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailableError
        self.writes.append(counted)

    def noted(self, kind: DeviceEventKind) -> None:
        self.kinds[kind] += 1

    def lost(self, reason: str, events: int) -> None:
        self.lost_events[reason] += events

    def seconds(self) -> float:
        return self.now

    def events(self, **bounds: int) -> NotedDeviceEvents:
        return NotedDeviceEvents(self, self, self.seconds, **bounds)

    @property
    def written(self) -> list[CountedEvent]:
        return [counted for write in self.writes for counted in write]


@pytest.fixture
def world() -> World:
    return World()


def of_device(number: int) -> DeviceEvent:
    return replace(EVENT, device_id=DeviceId(f"d_{number}"))


async def test_equal_events_are_one_with_the_first_ones_ksn_and_detail(world: World) -> None:
    events = world.events()
    for change in ({}, {"ksn": "123456789012345600000002"}, {"detail": "padding"}):
        await events.note(replace(EVENT, **change))  # type: ignore[arg-type]
    await events.write()

    assert world.written == [CountedEvent(EVENT, 3)]
    assert world.kinds == {"decryption_failed": 3}
    await events.write()
    assert len(world.writes) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kind": DeviceEventKind.KSN_REPLAYED},
        {"merchant_id": "m_2"},
        {"device_id": "d_2"},
        {"api_key_id": "key-2"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_not_equal_is_another_row(world: World, change: dict[str, str]) -> None:
    events = world.events()
    await events.note(EVENT)
    await events.note(replace(EVENT, **change))  # type: ignore[arg-type]
    await events.write()

    assert [counted.count for counted in world.written] == [1, 1]


async def test_a_flood_of_devices_of_one_caller_ends_in_one_row(world: World) -> None:
    events = world.events(devices_a_minute=3)
    for number in range(1_000):
        await events.note(of_device(number))
    await events.note(of_device(1))
    await events.write()

    named = {counted.event.device_id: counted.count for counted in world.written}
    assert named == {"d_0": 1, "d_1": 2, "d_2": 1, "": 997}
    (together,) = [counted for counted in world.written if not counted.event.device_id]
    assert together.event.ksn == ""
    assert not world.lost_events


async def test_a_flood_hides_nobody_elses_events(world: World) -> None:
    events = world.events(devices_a_minute=3)
    for number in range(1_000):
        await events.note(of_device(number))
    other = replace(EVENT, api_key_id="key-2", device_id=DeviceId("theirs"))
    await events.note(other)
    await events.write()

    assert CountedEvent(other, 1) in world.written


async def test_the_bound_of_a_process_holds_across_writes_and_ends_with_the_minute(
    world: World,
) -> None:
    events = world.events(devices_a_minute=100, rows_a_minute=10)
    for second in range(20):
        world.now = float(second)
        for number in range(5):
            await events.note(of_device(5 * second + number))
        await events.write()
    assert len({counted.event.device_id for counted in world.written}) == 10
    assert world.lost_events == {"flood": 90}
    assert world.kinds == {"decryption_failed": 100}
    # Who has a row is still counted up.
    await events.note(of_device(0))
    assert world.lost_events == {"flood": 90}

    world.now = 60.0
    await events.note(of_device(99))
    await events.write()
    assert world.written[-1] == CountedEvent(of_device(99), 1)


async def test_many_rows_are_written_in_parts(world: World) -> None:
    events = world.events(devices_a_minute=2_000)
    for number in range(1_201):
        await events.note(of_device(number))
    await events.write()

    assert [len(write) for write in world.writes] == [500, 500, 201]


async def test_without_the_database_they_are_lost_and_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.away = True
    events = world.events()
    for _ in range(3):
        await events.note(EVENT)
    with caplog.at_level(logging.WARNING):
        await events.write()

    assert world.lost_events == {"database": 3}
    (line,) = caplog.records
    assert (line.getMessage(), vars(line)["events"]) == ("device events are lost", 3)
    world.away = False
    await events.note(EVENT)
    await events.write()
    assert world.written == [CountedEvent(EVENT, 1)]


async def test_what_a_cancelled_write_leaves_is_written_by_the_next(world: World) -> None:
    events = world.events()
    await events.note(EVENT)
    write = asyncio.create_task(events.write())
    await asyncio.sleep(0)
    write.cancel()
    await events.note(of_device(2))
    with pytest.raises(asyncio.CancelledError):
        await write
    await events.write()

    assert {counted.event.device_id for counted in world.written} == {"d_1", "d_2"}


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        ({"device_id": PAN}, {"device_id": ""}),
        ({"device_id": f"d-{PAN}"}, {"device_id": ""}),
        ({"ksn": PAN}, {"ksn": ""}),
        ({"ksn": f"FFFF{PAN}"}, {"ksn": ""}),
        ({"ksn": f"{PAN}D30122010000"[:24]}, {"ksn": ""}),
        ({"ksn": "not a KSN"}, {"ksn": ""}),
        ({"ksn": "12" * 32}, {"ksn": ""}),
        ({"ksn": "ffff9876543210e00001"}, {"ksn": "FFFF9876543210E00001"}),
    ],
    ids=repr,
)
async def test_no_card_data_gets_into_a_row(
    world: World, claimed: dict[str, str], kept: dict[str, str]
) -> None:
    events = world.events()
    await events.note(replace(EVENT, **claimed))  # type: ignore[arg-type]
    await events.write()

    assert world.written == [CountedEvent(replace(EVENT, **kept), 1)]  # type: ignore[arg-type]
