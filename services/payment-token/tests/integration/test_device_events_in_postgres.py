"""Events of terminals in the database: counted up by every process, found again, and deleted in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from payment_token.bootstrap.recorded_purges import RecordedPurges
from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.maintain import Maintain
from payment_token.domain.recorded_events import CountedEvent, EventQuery
from payment_token.infrastructure.database.device_events import PostgresDeviceEvents
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.noted_device_events import NotedDeviceEvents
from tests.support.postgres_proxy import postgres_proxy

EVENT = DeviceEvent(
    DeviceEventKind.UNKNOWN_DEVICE, MerchantId("m_1"), DeviceId("d_1"), api_key_id="key-1"
)


class NoCounts:
    """Counts of nobody's interest."""

    def noted(self, kind: DeviceEventKind) -> None: ...

    def lost(self, reason: str, events: int) -> None: ...


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with new_pool(database_url) as pool:
        yield pool


def in_the_past(url: str, **ago: timedelta) -> None:
    """Moves the events of these devices."""
    with psycopg.connect(url) as database:
        for device_id, age in ago.items():
            database.execute(
                "UPDATE device_events SET minute = minute - %(age)s, occurred_at = occurred_at - %(age)s,"
                " last_at = last_at - %(age)s WHERE device_id = %(device_id)s",
                {"age": age, "device_id": device_id},
            )


def total(url: str) -> tuple[int, int]:
    """Rows, and what they count."""
    with psycopg.connect(url) as database:
        found = database.execute(
            "SELECT count(*), coalesce(sum(count), 0)::bigint FROM device_events"
        ).fetchone()
    assert found is not None
    return found[0], found[1]


def all_of(*devices: str) -> list[CountedEvent]:
    return [CountedEvent(replace(EVENT, device_id=DeviceId(device)), 1) for device in devices]


async def test_equal_events_of_a_minute_are_counted_up(pool: Pool) -> None:
    store = PostgresDeviceEvents(pool)
    # Not across the end of a minute.
    if time.time() % 60 > 57:
        await asyncio.sleep(4)
    await store.write([CountedEvent(replace(EVENT, ksn="A" * 20, detail="first"), 3)])
    await store.write([CountedEvent(replace(EVENT, ksn="B" * 20, detail="second"), 4)])

    (found,) = await store.find(EventQuery(), 10)
    assert found.count == 7
    assert (found.event.ksn, found.event.detail) == ("A" * 20, "first")
    assert timedelta(0) < found.last_at - found.occurred_at < timedelta(minutes=1)


async def test_the_next_minute_is_another_row(pool: Pool, database_url: str) -> None:
    store = PostgresDeviceEvents(pool)
    await store.write(all_of("d_1"))
    in_the_past(database_url, d_1=timedelta(minutes=1))
    await store.write(all_of("d_1"))

    assert total(database_url) == (2, 2)


async def test_many_processes_count_up_the_same_rows_and_none_is_lost(
    pool: Pool, database_url: str
) -> None:
    """In whatever order each of them has them."""
    store = PostgresDeviceEvents(pool)
    names = [f"d_{number}" for number in range(200)]
    for _ in range(3):
        await asyncio.gather(
            *(
                store.write(all_of(*(names if process % 2 else reversed(names))))
                for process in range(8)
            )
        )

    rows, events = total(database_url)
    assert events == 3 * 8 * 200
    # Two minutes at most.
    assert 200 <= rows <= 400


async def test_a_flood_of_a_hundred_thousand_leaves_few_rows(pool: Pool, database_url: str) -> None:
    events = NotedDeviceEvents(PostgresDeviceEvents(pool), NoCounts(), time.monotonic)
    for number in range(100_000):
        await events.note(replace(EVENT, device_id=DeviceId(f"d_{number}")))
        if number % 10_000 == 0:
            await events.write()
    await events.write()

    rows, counted = total(database_url)
    assert counted == 100_000
    assert rows <= 2 * 2 * 101


async def found_devices(
    store: PostgresDeviceEvents, query: EventQuery, limit: int = 100
) -> list[str]:
    return [found.event.device_id for found in await store.find(query, limit)]


async def test_they_are_found_by_what_is_asked_the_newest_first(
    pool: Pool, database_url: str
) -> None:
    store = PostgresDeviceEvents(pool)
    for number, change in enumerate(
        (
            {},
            {"merchant_id": MerchantId("m_2")},
            {"kind": DeviceEventKind.KSN_REPLAYED},
            {},
        )
    ):
        await store.write(
            [CountedEvent(replace(EVENT, device_id=DeviceId(f"d_{number}"), **change), 1)]  # type: ignore[arg-type]
        )
    in_the_past(database_url, d_0=timedelta(hours=2))

    assert await found_devices(store, EventQuery()) == ["d_3", "d_2", "d_1", "d_0"]
    assert await found_devices(store, EventQuery(), limit=2) == ["d_3", "d_2"]
    assert await found_devices(store, EventQuery(merchant_id=MerchantId("m_2"))) == ["d_1"]
    assert await found_devices(store, EventQuery(device_id=DeviceId("d_2"))) == ["d_2"]
    assert await found_devices(store, EventQuery(kind=DeviceEventKind.KSN_REPLAYED)) == ["d_2"]
    newest, *_ = await store.find(EventQuery(), 1)
    since = newest.occurred_at - timedelta(hours=1)
    assert await found_devices(store, EventQuery(since=since)) == ["d_3", "d_2", "d_1"]
    assert await found_devices(store, EventQuery(before=newest.event_id)) == ["d_2", "d_1", "d_0"]


async def test_pages_meet_each_event_once(pool: Pool) -> None:
    store = PostgresDeviceEvents(pool)
    await store.write(all_of(*(f"d_{number}" for number in range(25))))
    seen: list[int] = []
    before = None
    while page := await store.find(EventQuery(merchant_id=EVENT.merchant_id, before=before), 10):
        seen += [found.event_id for found in page]
        before = page[-1].event_id
        # What comes meanwhile is not of these pages.
        await store.write(all_of(f"late_{before}"))

    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen, reverse=True)


async def test_what_no_event_is_as_long_as_is_refused_by_the_table(
    pool: Pool, database_url: str
) -> None:
    with psycopg.connect(database_url) as database, pytest.raises(psycopg.errors.CheckViolation):
        database.execute(
            "INSERT INTO device_events (kind, merchant_id, device_id, ksn, api_key_id, detail, count)"
            " VALUES ('', '', '', '', '', repeat('x', 1025), 1)"
        )


async def test_the_old_ones_go_in_batches_and_the_others_stay(
    pool: Pool, database_url: str
) -> None:
    store = PostgresDeviceEvents(pool)
    with psycopg.connect(database_url) as database:
        database.execute(
            "INSERT INTO device_events (minute, kind, merchant_id, device_id, ksn, api_key_id, detail, count)"
            " SELECT now() - interval '400 days', 'unknown_device', 'm', number::text, '', '', '', 1"
            "   FROM generate_series(1, 4500) AS number"
        )
        database.execute(
            "INSERT INTO device_failures (merchant_id, device_id, second, failures)"
            " SELECT 'm', 'd', now() - make_interval(hours => number), 1 FROM generate_series(0, 30) AS number"
        )
    await store.write(all_of("young", "nearly"))
    in_the_past(database_url, nearly=timedelta(days=399))
    maintain = Maintain(
        PostgresMaintenance(database_url),
        RecordedPurges(database_url),
        timedelta(days=1),
        timedelta(days=400),
    )

    done = await maintain()

    assert done is not None
    assert done.events == 4500
    assert set(await found_devices(store, EventQuery())) == {"nearly", "young"}
    with psycopg.connect(database_url) as database:
        assert database.execute("SELECT count(*) FROM device_failures").fetchone() == (25,)


async def test_without_the_database_nothing_waits_and_later_ones_are_kept(
    database_url: str,
) -> None:
    lost: list[tuple[str, int]] = []

    class Counts(NoCounts):
        def lost(self, reason: str, events: int) -> None:
            lost.append((reason, events))

    async with postgres_proxy(database_url) as wire, new_pool(wire.url) as pool:
        store = PostgresDeviceEvents(pool)
        events = NotedDeviceEvents(store, Counts(), time.monotonic)
        await events.note(EVENT)
        await events.write()
        wire.go_silent(for_all=True)
        for _ in range(1_000):
            await events.note(replace(EVENT, device_id=DeviceId("away")))
        await events.write()
        assert lost == [("database", 1_000)]
        wire.heal()
        await events.note(replace(EVENT, device_id=DeviceId("back")))
        await _written(events, database_url, rows=2)


async def _written(events: NotedDeviceEvents, url: str, rows: int) -> Sequence[None]:
    for _ in range(50):
        await events.write()
        if total(url)[0] == rows:
            return ()
        await events.note(replace(EVENT, device_id=DeviceId("back")))
        await asyncio.sleep(0.2)
    raise AssertionError("the database is back, and nothing is written")


@pytest.mark.parametrize("role", ["pt_ingest", "pt_vault", "pt_rotator"])
async def test_who_may_note_an_event_can_and_gives_no_time(
    pool: Pool, database_url: str, role: str
) -> None:
    with psycopg.connect(database_url) as database:
        # As the statement of the store does it, within the rights of the role.
        database.execute(f"SET ROLE {role}")
        for _ in range(2):
            database.execute(
                "INSERT INTO device_events AS known (kind, merchant_id, device_id, ksn, api_key_id, detail, count)"
                " SELECT 'unknown_device', 'm', 'd', '', '', '', 1"
                " ON CONFLICT (minute, merchant_id, kind, device_id, api_key_id) DO UPDATE"
                " SET count = known.count + excluded.count, last_at = clock_timestamp()"
            )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(
                "INSERT INTO device_events (kind, merchant_id, device_id, ksn, api_key_id, detail, count, occurred_at)"
                " VALUES ('', '', '', '', '', '', 1, now())"
            )
