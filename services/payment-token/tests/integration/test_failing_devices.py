"""The suspension of a terminal that keeps failing: whose failures count, over all processes, once, and on record."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg
import pytest

from payment_token.bootstrap.audit import opened_audit_log, this_process
from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.errors import AuditUnavailableError, DatabaseUnavailableError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.suspend_failing_devices import (
    FailingDevice,
    Failure,
    SuspendFailingDevices,
    SuspensionRule,
)
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.failing_devices import (
    PostgresDeviceFailures,
    PostgresSuspension,
)
from payment_token.infrastructure.database.pool import new_pool
from tests.fakes.memory_device_events import MemoryDeviceEvents

OURS, THEIRS = MerchantId("m_1"), MerchantId("m_2")
DEVICE = DeviceId("d_1")
KSN, OTHER_KSN = "123456789012345600000001", "AAAA56789012345600000001"
KEY, OTHER_KEY = bytes.fromhex(KSN[:16]), bytes.fromhex(OTHER_KSN[:16])
RULE = SuspensionRule(failures=3, seconds=60)


@dataclass
class Process:
    """One of several that serve the same database."""

    suspension: SuspendFailingDevices
    events: MemoryDeviceEvents

    async def fail(
        self,
        times: int = 1,
        ksn: str = KSN,
        merchant: MerchantId = OURS,
        device: DeviceId = DEVICE,
    ) -> None:
        for _ in range(times):
            await self.suspension.note(
                DeviceEvent(DeviceEventKind.DECRYPTION_FAILED, merchant, device, ksn, "key", "luhn")
            )
        await self.suspension.look()

    @property
    def suspended(self) -> list[DeviceEvent]:
        return [
            event
            for event in self.events.noted
            if event.kind is DeviceEventKind.SUSPENDED_AUTOMATICALLY
        ]


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(4):
            pool = await stack.enter_async_context(new_pool(database_url))
            clock = DatabaseClock(pool)
            await clock.synchronise()
            log = await stack.enter_async_context(
                opened_audit_log(database_url, pool, clock, this_process())
            )
            events = MemoryDeviceEvents()
            made.append(
                Process(
                    SuspendFailingDevices(
                        events,
                        PostgresDeviceFailures(pool),
                        PostgresSuspension(pool, log, this_process()),
                        RULE,
                    ),
                    events,
                )
            )
        yield made


@pytest.fixture
def process(processes: list[Process]) -> Process:
    return processes[0]


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO base_derivation_keys (bdk_id, key_uri, algorithm, allow_pin_variant, is_default, key_check_value, profile)"
            " VALUES ('b_1', 'local:b_1', 'aes-128', false, false, '', '{}')"
        )
        yield connection


def register(
    database: psycopg.Connection,
    merchant: str = OURS,
    device: str = DEVICE,
    state: str = "active",
    keys: tuple[bytes, ...] = (),
) -> None:
    database.execute(
        "INSERT INTO devices (merchant_id, device_id, bdk_id, state, profile, initial_key_ids)"
        " VALUES (%s, %s, 'b_1', %s, '{}', %s)",
        (merchant, device, state, list(keys)),
    )


def bind(
    database: psycopg.Connection, key: bytes, merchant: str = OURS, device: str = DEVICE
) -> None:
    database.execute(
        "INSERT INTO device_initial_keys (bdk_id, initial_key_id, merchant_id, device_id)"
        " VALUES ('b_1', %s, %s, %s)",
        (key, merchant, device),
    )


def state(database: psycopg.Connection, merchant: str = OURS, device: str = DEVICE) -> str:
    row = database.execute(
        "SELECT state FROM devices WHERE merchant_id = %s AND device_id = %s", (merchant, device)
    ).fetchone()
    assert row is not None
    found: str = row[0]
    return found


def changes(database: psycopg.Connection) -> list[tuple[str, ...]]:
    return database.execute(
        "SELECT identity, merchant_id, record::jsonb -> 'details' FROM audit_records"
        " WHERE event = 'device_state_changed'"
    ).fetchall()


async def test_at_the_limit_it_is_suspended_on_record_with_an_event(
    process: Process, database: psycopg.Connection
) -> None:
    register(database, keys=(KEY,))
    await process.fail(2)
    assert state(database) == "active"
    await process.fail()

    assert state(database) == "suspended"
    ((identity, merchant, details),) = changes(database)
    assert identity.startswith("service:payment-token/")
    assert merchant == OURS
    reason = "3 failures to decrypt within 60 seconds"
    assert details == {"device_id": DEVICE, "from": "active", "to": "suspended", "reason": reason}
    assert process.suspended == [
        DeviceEvent(DeviceEventKind.SUSPENDED_AUTOMATICALLY, OURS, DEVICE, detail=reason)
    ]


async def test_processes_count_together_and_suspend_once(
    processes: list[Process], database: psycopg.Connection
) -> None:
    register(database, keys=(KEY,))
    await asyncio.gather(*(process.fail(5) for process in processes))
    for process in processes:
        await process.suspension.look()

    assert state(database) == "suspended"
    assert len(changes(database)) == 1
    assert sum(len(process.suspended) for process in processes) == 1


@pytest.mark.parametrize(
    ("registered", "bound", "state_after"),
    [
        ((KEY,), {}, "suspended"),
        ((OTHER_KEY,), {}, "active"),
        ((), {}, "suspended"),
        ((), {KEY: (OURS, DEVICE)}, "suspended"),
        ((), {KEY: (OURS, DEVICE), OTHER_KEY: (OURS, DEVICE)}, "suspended"),
        ((), {OTHER_KEY: (OURS, DEVICE)}, "active"),
        ((), {KEY: (OURS, DeviceId("d_2"))}, "active"),
        ((), {KEY: (THEIRS, DEVICE)}, "active"),
    ],
    ids=[
        "registered with this key",
        "registered with another",
        "nothing bound yet",
        "bound to it",
        "bound to it with another",
        "another is bound to it",
        "bound to another device",
        "bound to another merchant",
    ],
)
async def test_whose_failures_count(
    process: Process,
    database: psycopg.Connection,
    registered: tuple[bytes, ...],
    bound: dict[bytes, tuple[str, str]],
    state_after: str,
) -> None:
    register(database, keys=registered)
    for key, (merchant, device) in bound.items():
        bind(database, key, merchant, device)
    await process.fail(10)

    assert state(database) == state_after


async def test_nobody_has_a_terminal_of_another_merchant_suspended(
    process: Process, database: psycopg.Connection
) -> None:
    """With its id and its KSN, and an API key of a merchant that has a terminal of the same name."""
    register(database, OURS, keys=(KEY,))
    bind(database, KEY)
    register(database, THEIRS)
    await process.fail(10, merchant=THEIRS)

    assert state(database, OURS) == state(database, THEIRS) == "active"


async def test_what_is_not_registered_is_not_kept(
    process: Process, database: psycopg.Connection
) -> None:
    for number in range(50):
        await process.fail(5, device=DeviceId(f"made-up-{number}"))

    assert database.execute("SELECT count(*) FROM device_failures").fetchone() == (0,)


async def test_what_is_longer_ago_does_not_count(
    process: Process, database: psycopg.Connection
) -> None:
    register(database, keys=(KEY,))
    await process.fail(2)
    database.execute("UPDATE device_failures SET second = second - interval '61 seconds'")
    await process.fail(2)
    assert state(database) == "active"
    await process.fail()
    assert state(database) == "suspended"


async def test_whoever_is_reactivated_begins_anew(
    process: Process, database: psycopg.Connection
) -> None:
    register(database, keys=(KEY,))
    await process.fail(3)
    database.execute("UPDATE devices SET state = 'active'")
    await process.fail(2)
    assert state(database) == "active"
    await process.fail()
    assert state(database) == "suspended"
    assert len(changes(database)) == 2


@pytest.mark.parametrize("stopped", ["stolen", "retired", "suspended"])
async def test_what_an_operator_has_stopped_stays_as_it_is(
    process: Process, database: psycopg.Connection, stopped: str
) -> None:
    register(database, keys=(KEY,), state=stopped)
    await process.fail(10)

    assert state(database) == stopped
    assert changes(database) == process.suspended == []


async def test_other_events_are_no_failures(process: Process, database: psycopg.Connection) -> None:
    register(database, keys=(KEY,))
    for kind in set(DeviceEventKind) - {DeviceEventKind.DECRYPTION_FAILED}:
        for _ in range(5):
            await process.suspension.note(DeviceEvent(kind, OURS, DEVICE, KSN))
    await process.suspension.look()

    assert state(database) == "active"


async def test_without_a_record_it_is_not_suspended_until_there_is_one(
    processes: list[Process], database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(database, keys=(KEY,))
    process = processes[0]
    log = process.suspension._suspend._audit_log  # type: ignore[attr-defined]

    async def away(_: object) -> None:
        raise AuditUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(log, "record", away)
        await process.fail(3)
        await process.suspension.look()
        assert state(database) == "active"
        assert process.suspended == []
    await process.suspension.look()

    assert state(database) == "suspended"
    assert len(changes(database)) == 1


async def test_an_outage_while_counting_loses_counts_and_no_event() -> None:
    class Away:
        async def count(self, failures: object, rule: object) -> list[FailingDevice]:
            raise DatabaseUnavailableError

        async def suspend(self, *_: object) -> bool:
            raise AssertionError

    events = MemoryDeviceEvents()
    suspension = SuspendFailingDevices(events, Away(), Away(), RULE)
    await suspension.note(DeviceEvent(DeviceEventKind.DECRYPTION_FAILED, OURS, DEVICE, KSN))
    with pytest.raises(DatabaseUnavailableError):
        await suspension.look()
    assert len(events.noted) == 1
    assert suspension._uncounted == Counter()


async def test_a_flood_of_made_up_names_is_bounded() -> None:
    asked: list[int] = []

    class Counts:
        async def count(self, failures: dict[Failure, int], rule: object) -> list[FailingDevice]:
            asked.append(len(failures))
            return []

    suspension = SuspendFailingDevices(MemoryDeviceEvents(), Counts(), Counts(), RULE)  # type: ignore[arg-type]
    for number in range(10_000):
        await suspension.note(
            DeviceEvent(DeviceEventKind.DECRYPTION_FAILED, OURS, DeviceId(str(number)), KSN)
        )
    await suspension.look()
    assert asked == [2_000]


def test_a_process_that_serves_suspends_and_changes_no_profile_and_no_key(
    database: psycopg.Connection,
) -> None:
    register(database, state="stolen")
    register(database, device="d_2")
    database.execute("SET ROLE pt_ingest")
    for device, done in ((DEVICE, False), ("d_2", True), ("d_3", False)):
        assert database.execute("SELECT suspend_device(%s, %s)", (OURS, device)).fetchone() == (
            done,
        )
    # Administrators reactivate through it. Which key and which encryption a device has, it cannot change.
    for column in ("profile = '{}'", "bdk_id = 'other'", "initial_key_ids = '{}'", "serial = ''"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(f"UPDATE devices SET {column}")  # type: ignore[arg-type]
