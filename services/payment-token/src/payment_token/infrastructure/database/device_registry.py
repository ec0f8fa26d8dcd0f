"""The registry of terminals, in PostgreSQL. The ports are in :mod:`payment_token.domain.change_devices`.

A terminal's row is locked first, then those of its initial keys, these in the order of their names: so do the creates of tokens.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from payment_token.domain.change_devices import Registered
from payment_token.domain.device_registry import InitialKeyUse, Registration, RegistryEntry
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import (
    DeviceExistsError,
    DeviceNotFoundError,
    DeviceStateConflictError,
    IdempotencyInProgressError,
    InitialKeyTakenError,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.infrastructure.database.device_directory import device_of, profile_json
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_FIND = "SELECT * FROM devices WHERE merchant_id = %s AND device_id = %s"
_HOLD = _FIND + " FOR NO KEY UPDATE"

_KEYS = """
SELECT * FROM device_initial_keys
 WHERE merchant_id = %s AND device_id = ANY (%s)
 ORDER BY bdk_id COLLATE "C", initial_key_id
"""
_HOLD_KEYS = _KEYS + " FOR NO KEY UPDATE"

_LIST = """
SELECT * FROM devices
 WHERE (%(merchant_id)s::text IS NULL OR merchant_id = %(merchant_id)s)
   AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (merchant_id, device_id) > (%(after_merchant)s, %(after_device)s)
 ORDER BY merchant_id, device_id
 LIMIT %(limit)s
"""

# Where registration is open, a terminal may have sent before it is registered.
_ADD = """
INSERT INTO devices (merchant_id, device_id, bdk_id, state, profile, initial_key_ids, serial, make, model, firmware, profile_name)
SELECT %(merchant_id)s, %(device_id)s, %(bdk_id)s,
       CASE WHEN EXISTS (SELECT FROM device_initial_keys
                          WHERE merchant_id = %(merchant_id)s AND device_id = %(device_id)s AND first_seen_at IS NOT NULL)
            THEN 'active' ELSE 'registered' END,
       %(profile)s, %(initial_key_ids)s, %(serial)s, %(make)s, %(model)s, %(firmware)s, %(profile_name)s
    ON CONFLICT (merchant_id, device_id) DO NOTHING
"""

_BIND = """
INSERT INTO device_initial_keys (bdk_id, initial_key_id, merchant_id, device_id)
VALUES (%(bdk_id)s, %(initial_key_id)s, %(merchant_id)s, %(device_id)s)
    ON CONFLICT (bdk_id, initial_key_id) DO NOTHING
"""

_IS_ITS_OWN = """
SELECT FROM device_initial_keys
 WHERE bdk_id = %(bdk_id)s AND initial_key_id = %(initial_key_id)s
   AND merchant_id = %(merchant_id)s AND device_id = %(device_id)s
"""

_PUT_IN = """
UPDATE devices SET state = %s, state_changed_at = clock_timestamp(), state_reason = %s
 WHERE merchant_id = %s AND device_id = %s
"""

_FORGET_COUNTERS = """
UPDATE device_initial_keys SET high_water = NULL, seen = NULL WHERE bdk_id = %s AND initial_key_id = %s
"""

# A device without a list takes any key that is bound to it, so it stays without one.
_LIST_KEY = """
UPDATE devices SET initial_key_ids = array_append(initial_key_ids, %(initial_key_id)s)
 WHERE merchant_id = %(merchant_id)s AND device_id = %(device_id)s AND cardinality(initial_key_ids) > 0
"""


class PostgresDeviceRegistry:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, merchant_id: MerchantId, device_id: DeviceId) -> RegistryEntry | None:
        async with connection_of(self._pool) as connection:
            return await _entry(connection, _FIND, _KEYS, merchant_id, device_id)

    async def page(
        self,
        merchant_id: MerchantId | None = None,
        state: DeviceState | None = None,
        *,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
    ) -> Sequence[RegistryEntry]:
        """By merchant and id, those behind ``after``."""
        asked = {
            "merchant_id": merchant_id,
            "state": state,
            "after_merchant": after[0],
            "after_device": after[1],
            "limit": limit,
        }
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_LIST, asked)
            rows = await cursor.fetchall()
            keys: dict[tuple[str, str], list[InitialKeyUse]] = {}
            for merchant in sorted({row["merchant_id"] for row in rows}):
                names = [row["device_id"] for row in rows if row["merchant_id"] == merchant]
                await cursor.execute(_KEYS, (merchant, names))
                async for row in cursor:
                    keys.setdefault((merchant, row["device_id"]), []).append(_key_use(row))
        return [
            _entry_of(row, keys.get((row["merchant_id"], row["device_id"]), ())) for row in rows
        ]

    @asynccontextmanager
    async def held(
        self, merchant_id: MerchantId, device_id: DeviceId
    ) -> AsyncIterator["HeldPostgresDevice"]:
        async with _not_kept_waiting(), connection_of(self._pool) as connection:
            entry = await _entry(connection, _HOLD, _HOLD_KEYS, merchant_id, device_id)
            if entry is None:
                raise DeviceNotFoundError
            yield HeldPostgresDevice(connection, entry)

    @asynccontextmanager
    async def registering(self, *, keep: bool = True) -> AsyncIterator["PostgresRegistering"]:
        async with (
            _not_kept_waiting(),
            connection_of(self._pool) as connection,
            connection.transaction(force_rollback=not keep),
        ):
            yield PostgresRegistering(connection)


@asynccontextmanager
async def _not_kept_waiting() -> AsyncIterator[None]:
    is_locked = False
    try:
        yield
    except IdempotencyInProgressError:
        is_locked = True
    if is_locked:
        raise DeviceStateConflictError(
            "Somebody else is changing the device just now. Look at it, and try again."
        )


class HeldPostgresDevice:
    """Rows that this transaction has locked."""

    def __init__(self, connection: AsyncConnection, entry: RegistryEntry) -> None:
        self._connection = connection
        self.entry = entry

    async def put_in(self, state: DeviceState, reason: str) -> None:
        device = self.entry.device
        await self._connection.execute(
            _PUT_IN, (state, reason, device.merchant_id, device.device_id)
        )

    async def forget_counters(self, keys: Sequence[InitialKeyUse]) -> None:
        for key in keys:
            await self._connection.execute(_FORGET_COUNTERS, (key.bdk_id, key.initial_key_id))

    async def add_initial_key(self, initial_key_id: bytes) -> None:
        row = _binding(self.entry.registration, initial_key_id)
        if (await self._connection.execute(_BIND, row)).rowcount == 0:
            raise InitialKeyTakenError
        await self._connection.execute(_LIST_KEY, row)


class PostgresRegistering:
    """Registers within one transaction. What is refused leaves nothing in it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, registration: Registration) -> Registered:
        async with self._connection.transaction():
            if await self._added(registration):
                await self._bind(registration)
                return Registered.NEW
        device = registration.device
        known = await _entry(self._connection, _FIND, _KEYS, device.merchant_id, device.device_id)
        if known is None or not known.registration.says_the_same(registration):
            raise DeviceExistsError
        return Registered.BEFORE

    async def _added(self, registration: Registration) -> bool:
        device = registration.device
        row: dict[str, Any] = {
            "merchant_id": device.merchant_id,
            "device_id": device.device_id,
            "bdk_id": device.bdk_id,
            "profile": profile_json(device.profile),
            "initial_key_ids": sorted(device.initial_key_ids),
            "serial": device.serial,
            "make": registration.make,
            "model": registration.model,
            "firmware": registration.firmware,
            "profile_name": registration.profile_name,
        }
        return (await self._connection.execute(_ADD, row)).rowcount == 1

    async def _bind(self, registration: Registration) -> None:
        for initial_key_id in sorted(registration.device.initial_key_ids):
            row = _binding(registration, initial_key_id)
            if (await self._connection.execute(_BIND, row)).rowcount:
                continue
            # Bound at its first success, where registration is open.
            if (await self._connection.execute(_IS_ITS_OWN, row)).rowcount == 0:
                raise InitialKeyTakenError


def _binding(registration: Registration, initial_key_id: bytes) -> dict[str, object]:
    device = registration.device
    return {
        "bdk_id": device.bdk_id,
        "initial_key_id": initial_key_id,
        "merchant_id": device.merchant_id,
        "device_id": device.device_id,
    }


async def _entry(
    connection: AsyncConnection,
    find: LiteralString,
    find_keys: LiteralString,
    merchant_id: MerchantId,
    device_id: DeviceId,
) -> RegistryEntry | None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(find, (merchant_id, device_id))
    row = await cursor.fetchone()
    if row is None:
        return None
    await cursor.execute(find_keys, (merchant_id, [device_id]))
    return _entry_of(row, [_key_use(key) async for key in cursor])


def _entry_of(row: DictRow, keys: Sequence[InitialKeyUse]) -> RegistryEntry:
    registration = Registration(
        device_of(row), row["make"], row["model"], row["firmware"], row["profile_name"]
    )
    return RegistryEntry(
        registration,
        row["created_at"],
        row["state_changed_at"],
        row["state_reason"],
        tuple(keys),
    )


def _key_use(row: DictRow) -> InitialKeyUse:
    return InitialKeyUse(
        row["bdk_id"],
        row["initial_key_id"],
        row["bound_at"],
        row["high_water"],
        row["first_seen_at"],
        row["last_seen_at"],
        row["tokens"],
    )
