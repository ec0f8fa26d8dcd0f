"""Devices change on record, one change at a time; of two operators at once one wins, and the other is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from payment_token.bootstrap.audit import opened_audit_log
from payment_token.domain.audit import Actor, AuditEvent, Receipt
from payment_token.domain.change_devices import ChangeDevices, Registered
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import Registration, RegistryEntry
from payment_token.domain.device_states import StateChange
from payment_token.domain.enrolment import Device, DeviceState
from payment_token.domain.errors import (
    AuditUnavailableError,
    DatabaseUnavailableError,
    DeviceExistsError,
    DeviceNotFoundError,
    DeviceStateConflictError,
    InitialKeyTakenError,
    InvalidFieldError,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.reader_profiles import NamedProfile
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.device_events import (
    PostgresDeviceEvents,
    WrittenDeviceEvents,
)
from payment_token.infrastructure.database.device_profiles import PostgresDeviceProfiles
from payment_token.infrastructure.database.device_registry import PostgresDeviceRegistry
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.database.privileges import INGEST, ROTATOR, VAULT
from tests.fakes.memory_device_events import MemoryDeviceEvents
from tests.support.logins import login_of

OPERATOR = Actor("operator:alice", "test")
MERCHANT, OTHER = MerchantId("m_1"), MerchantId("m_2")
TILL = DeviceId("till/7")
KEYS = tuple(bytes([number]) * 10 for number in (1, 2, 3))
PROFILE = DeviceProfile(
    Scheme.DUKPT_TDES,
    KeyVariant.PIN,
    Cipher.TDES_2KEY,
    Mode.CBC,
    bytes(range(8)),
    Container.MAGTEK_SWIPE,
)


def till(device_id: str = TILL, merchant: MerchantId = MERCHANT, **more: Any) -> Registration:
    keys = more.pop("keys", KEYS)
    device = Device(
        merchant,
        DeviceId(device_id),
        "b_1",
        DeviceState.REGISTERED,
        PROFILE,
        frozenset(keys),
        "SN-1",
    )
    return replace(Registration(device, "MagTek", "Dynamag", "1.0", "magtek-swipe"), **more)


@dataclass
class Operators:
    """Each change is made by a process of its own: a pool and a log of its own."""

    url: str
    closing: AsyncExitStack
    database: psycopg.Connection[dict[str, Any]]

    async def pool(self) -> Pool:
        return await self.closing.enter_async_context(new_pool(self.url))

    async def process(self) -> ChangeDevices:
        pool = await self.pool()
        clock = DatabaseClock(pool)
        await clock.synchronise()
        log = await self.closing.enter_async_context(
            opened_audit_log(self.url, pool, clock, OPERATOR)
        )
        return ChangeDevices(
            registry=PostgresDeviceRegistry(pool),
            audit_log=log,
            device_events=WrittenDeviceEvents(PostgresDeviceEvents(pool)),
            operator=OPERATOR,
        )

    async def read(self, device_id: str = TILL, merchant: MerchantId = MERCHANT) -> RegistryEntry:
        registry = PostgresDeviceRegistry(await self.pool())
        entry = await registry.find(merchant, DeviceId(device_id))
        assert entry is not None
        return entry

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        rows = self.database.execute(
            "SELECT event, record::jsonb -> 'details' AS details FROM audit_records"
            " WHERE event LIKE 'device%' ORDER BY recorded_at, sequence"
        )
        return [(row["event"], row["details"]) for row in rows.fetchall()]

    def count(self, table: str) -> int:
        row = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]
        assert row is not None
        return int(row["count"])


@pytest.fixture
async def operators(database_url: str) -> AsyncIterator[Operators]:
    async with AsyncExitStack() as closing:
        with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as database:
            yield Operators(database_url, closing, database)


async def test_a_device_comes_back_as_it_was_registered(operators: Operators) -> None:
    changes = await operators.process()

    assert await changes.register(till()) is Registered.NEW

    entry = await operators.read()
    assert entry.registration == till()
    assert entry.device.profile == PROFILE
    assert [key.initial_key_id for key in entry.initial_keys] == list(KEYS)
    assert (entry.state_reason, entry.tokens, entry.last_seen_at) == ("", 0, None)
    ((event, details),) = operators.records()
    assert event == "device_registered"
    assert details["initial_key_ids"] == ",".join(key.hex().upper() for key in KEYS)
    assert (details["serial"], details["profile"]) == ("SN-1", "magtek-swipe")


async def test_registering_again_changes_nothing_and_is_not_recorded(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())
    await changes.change_state(MERCHANT, TILL, StateChange.SUSPEND, "x")

    assert await changes.register(till()) is Registered.BEFORE
    with pytest.raises(DeviceExistsError):
        await changes.register(till(model="another"))

    assert (await operators.read()).device.state is DeviceState.SUSPENDED
    assert [event for event, _ in operators.records()] == [
        "device_registered",
        "device_state_changed",
    ]


async def test_an_initial_key_is_one_devices(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())

    for other in (till("till/8", keys=KEYS[2:]), till(merchant=OTHER, keys=KEYS[:1])):
        with pytest.raises(InitialKeyTakenError):
            await changes.register(other)
    with pytest.raises(InitialKeyTakenError):
        await changes.add_initial_key(MERCHANT, TILL, KEYS[0])

    assert operators.count("devices") == 1
    assert operators.count("device_initial_keys") == 3
    assert len(operators.records()) == 1


async def test_a_further_initial_key(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till(keys=KEYS[:1]))

    await changes.add_initial_key(MERCHANT, TILL, KEYS[1])
    await changes.change_state(MERCHANT, TILL, StateChange.SUSPEND, "x")
    with pytest.raises(DeviceStateConflictError):
        await changes.add_initial_key(MERCHANT, TILL, KEYS[2])

    assert (await operators.read()).device.initial_key_ids == frozenset(KEYS[:2])
    assert operators.records()[1] == (
        "device_registered",
        {"device_id": TILL, "added_initial_key": KEYS[1].hex().upper()},
    )


async def test_one_that_sent_before_it_was_registered_is_active(operators: Operators) -> None:
    """Where registration is open, its initial key is bound at its first success."""
    operators.database.execute(
        "INSERT INTO device_initial_keys (bdk_id, initial_key_id, merchant_id, device_id, first_seen_at, tokens)"
        " VALUES ('b_1', %s, %s, %s, now(), 3)",
        (KEYS[0], MERCHANT, TILL),
    )

    await (await operators.process()).register(till())

    entry = await operators.read()
    assert (entry.device.state, entry.tokens) == (DeviceState.ACTIVE, 3)


async def test_one_batch_with_good_and_bad_ones(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())
    batch = [
        till(),
        till("till/8", keys=()),
        till(model="another"),
        till("till/9", keys=KEYS[:1]),
        till("till/10", keys=(b"x" * 10,)),
    ]

    tried = await changes.try_all(batch)
    assert operators.count("devices") == 1
    done = await changes.register_all(batch)

    assert list(map(type, tried)) == list(map(type, done))
    assert done[0] is Registered.BEFORE
    assert done[1] is done[4] is Registered.NEW
    assert type(done[2]) is DeviceExistsError
    assert type(done[3]) is InitialKeyTakenError
    assert operators.count("devices") == 3
    assert len(operators.records()) == 3


async def outcomes_of(calls: Sequence[Any]) -> tuple[list[Any], list[BaseException]]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    won = [outcome for outcome in found if not isinstance(outcome, BaseException)]
    return won, [outcome for outcome in found if isinstance(outcome, BaseException)]


async def test_of_operators_who_suspend_at_once_one_wins(operators: Operators) -> None:
    processes = [await operators.process() for _ in range(5)]
    await processes[0].register(till())

    won, lost = await outcomes_of(
        [
            process.change_state(MERCHANT, TILL, StateChange.SUSPEND, f"by {number}")
            for number, process in enumerate(processes)
        ]
    )

    assert won == [DeviceState.SUSPENDED]
    assert {type(error) for error in lost} == {DeviceStateConflictError}
    # Who lost has left nothing in the log.
    _, (event, details) = operators.records()
    assert event == "device_state_changed"
    assert details["reason"] == (await operators.read()).state_reason


async def test_of_operators_who_register_at_once_one_wins(operators: Operators) -> None:
    processes = [await operators.process() for _ in range(5)]

    won, lost = await outcomes_of(
        [process.register(till(firmware=str(number))) for number, process in enumerate(processes)]
    )

    assert won == [Registered.NEW]
    assert {type(error) for error in lost} == {DeviceExistsError}
    ((_, details),) = operators.records()
    assert details["firmware"] == (await operators.read()).registration.firmware


async def test_devices_that_want_one_initial_key_at_once(operators: Operators) -> None:
    processes = [await operators.process() for _ in range(5)]

    won, lost = await outcomes_of(
        [process.register(till(f"till/{number}")) for number, process in enumerate(processes)]
    )

    assert won == [Registered.NEW]
    assert {type(error) for error in lost} == {InitialKeyTakenError}
    assert operators.count("devices") == 1


async def test_who_retires_and_who_reactivates_at_once(operators: Operators) -> None:
    """In either order it is retired in the end."""
    one, other = await operators.process(), await operators.process()
    await one.register(till())
    await one.change_state(MERCHANT, TILL, StateChange.REPORT_STOLEN)

    retired, _ = await asyncio.gather(
        one.change_state(MERCHANT, TILL, StateChange.RETIRE),
        other.change_state(MERCHANT, TILL, StateChange.REACTIVATE, "found"),
        return_exceptions=True,
    )

    assert retired is DeviceState.RETIRED
    assert (await operators.read()).device.state is DeviceState.RETIRED


async def test_who_holds_a_device_for_long_is_named_as_the_reason(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())
    with operators.database.transaction():
        operators.database.execute("SELECT FROM devices FOR UPDATE")
        with pytest.raises(DeviceStateConflictError, match="Somebody else is changing the device"):
            await changes.change_state(MERCHANT, TILL, StateChange.RETIRE)
    assert len(operators.records()) == 1
    await changes.change_state(MERCHANT, TILL, StateChange.RETIRE)


class NoLog:
    async def record(self, event: AuditEvent) -> Receipt:
        raise AuditUnavailableError


async def test_without_a_record_nothing_changes(operators: Operators) -> None:
    await (await operators.process()).register(till())
    operators.database.execute("UPDATE device_initial_keys SET high_water = 5, seen = 0::bit(1024)")
    before = await operators.read()
    changes = ChangeDevices(
        registry=PostgresDeviceRegistry(await operators.pool()),
        audit_log=NoLog(),  # type: ignore[arg-type]
        device_events=MemoryDeviceEvents(),
        operator=OPERATOR,
    )

    for change in (
        changes.change_state(MERCHANT, TILL, StateChange.SUSPEND, "x"),
        changes.reset_counter(MERCHANT, TILL, None),
        changes.add_initial_key(MERCHANT, TILL, b"new"),
        changes.register(till("till/8", keys=())),
        changes.register_all([till("till/9", keys=()), till("till/10", keys=())]),
    ):
        with pytest.raises(AuditUnavailableError):
            await change

    assert await operators.read() == before
    assert operators.count("devices") == 1


async def test_counters_are_reset_for_one_key_or_for_all(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())
    await changes.register(till("till/8", keys=(b"y" * 10,)))
    operators.database.execute("UPDATE device_initial_keys SET high_water = 5, seen = 0::bit(1024)")

    (one,) = await changes.reset_counter(MERCHANT, TILL, KEYS[1], "repaired")
    assert (one.initial_key_id, one.high_water) == (KEYS[1], 5)
    assert [key.high_water for key in (await operators.read()).initial_keys] == [5, None, 5]
    assert len(await changes.reset_counter(MERCHANT, TILL, None)) == 3
    assert [key.high_water for key in (await operators.read()).initial_keys] == [None] * 3
    assert (await operators.read("till/8")).initial_keys[0].high_water == 5
    with pytest.raises(InvalidFieldError, match="initial_key_id: is not one of this device's"):
        await changes.reset_counter(MERCHANT, TILL, b"y" * 10)

    assert operators.database.execute(
        "SELECT kind, device_id, count FROM device_events"
    ).fetchall() == [{"kind": "counter_reset", "device_id": TILL, "count": 2}]
    resets = [details for event, details in operators.records() if event == "device_counter_reset"]
    assert [details["high_water"] for details in resets] == [5, 5, "none", 5]


async def test_another_merchants_device_is_not_there(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())

    for change in (
        changes.change_state(OTHER, TILL, StateChange.RETIRE),
        changes.reset_counter(OTHER, TILL, None),
        changes.add_initial_key(OTHER, TILL, b"new"),
    ):
        with pytest.raises(DeviceNotFoundError):
            await change
    assert (await operators.read()).device.state is DeviceState.REGISTERED


async def test_what_has_never_sent_is_registered_again(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register(till())
    for expected in (DeviceState.REGISTERED, DeviceState.ACTIVE):
        await changes.change_state(MERCHANT, TILL, StateChange.SUSPEND, "x")
        assert await changes.change_state(MERCHANT, TILL, StateChange.REACTIVATE) is expected
        operators.database.execute("UPDATE device_initial_keys SET first_seen_at = now()")


async def test_pages_hold_every_device_once(operators: Operators) -> None:
    changes = await operators.process()
    await changes.register_all(
        [
            till(f"till/{number}", merchant, keys=(f"{merchant}{number}".encode(),))
            for merchant in (MERCHANT, OTHER)
            for number in range(12)
        ]
    )
    registry = PostgresDeviceRegistry(await operators.pool())

    found: list[RegistryEntry] = []
    after = ("", "")
    while page := await registry.page(after=after, limit=5):
        found += page
        after = (page[-1].device.merchant_id, page[-1].device.device_id)

    names = [(entry.device.merchant_id, entry.device.device_id) for entry in found]
    assert len(names) == len(set(names)) == 24
    assert names == sorted(names)
    assert all(len(entry.initial_keys) == 1 for entry in found)
    assert len(await registry.page(OTHER, limit=100)) == 12
    assert await registry.page(OTHER, DeviceState.STOLEN) == []


async def test_own_profiles(operators: Operators) -> None:
    profiles = PostgresDeviceProfiles(await operators.pool())
    own = NamedProfile("house", PROFILE, "ours")

    assert await profiles.add(own)
    assert not await profiles.add(replace(own, description="other"))
    assert await profiles.find("house") == own
    changes = await operators.process()
    await changes.register(till(profile_name="house"))
    assert await profiles.uses("house") == 1
    assert not await profiles.remove("house")
    await changes.change_state(MERCHANT, TILL, StateChange.RETIRE)
    assert await profiles.remove("house")
    assert not await profiles.remove("house")
    assert (await operators.read()).device.profile == PROFILE


@pytest.mark.parametrize("role", [ROTATOR, INGEST])
async def test_the_logins_of_operators_and_of_the_public_side(database_url: str, role: str) -> None:
    with login_of(database_url, role) as url:
        async with new_pool(url) as pool:
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with opened_audit_log(url, pool, clock, OPERATOR) as log:
                registry = PostgresDeviceRegistry(pool)
                changes = ChangeDevices(
                    registry=registry,
                    audit_log=log,
                    device_events=WrittenDeviceEvents(PostgresDeviceEvents(pool)),
                    operator=OPERATOR,
                )
                await changes.register(till())
                await changes.change_state(MERCHANT, TILL, StateChange.SUSPEND, "x")
                await changes.change_state(MERCHANT, TILL, StateChange.REACTIVATE)
                assert len(await changes.reset_counter(MERCHANT, TILL, None)) == 3
                assert len(await registry.page(MERCHANT)) == 1
                assert await PostgresDeviceProfiles(pool).find("nothing") is None


async def test_the_login_that_releases_sees_no_device(database_url: str) -> None:
    with login_of(database_url, VAULT) as url:
        async with new_pool(url) as pool:
            with pytest.raises(DatabaseUnavailableError):
                await PostgresDeviceRegistry(pool).page()
