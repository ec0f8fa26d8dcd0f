"""Terminals are registered, stopped and brought back on record: first the record, then the change.

Whoever changes a terminal holds its row alone until the change is done, so that of two operators at once the second finds what the
first has done, is told, and records nothing. The row of the terminal is locked before those of its initial keys, as everywhere.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.device_events import DeviceEvent, DeviceEventKind, DeviceEvents
from payment_token.domain.device_registry import InitialKeyUse, Registration, RegistryEntry
from payment_token.domain.device_states import StateChange, checked_reason, next_state
from payment_token.domain.enrolment import Device, DeviceState
from payment_token.domain.errors import (
    DeviceExistsError,
    DeviceStateConflictError,
    InvalidFieldError,
)
from payment_token.domain.identifiers import DeviceId, MerchantId, RequestId
from payment_token.domain.ports import AuditLog


class Registered(StrEnum):
    NEW = "new"
    BEFORE = "before"  # the same was registered already; nothing changed


class HeldDevice(Protocol):
    """One terminal that nobody else changes meanwhile. What is done to it is done at the end of the block: all of it, or nothing."""

    @property
    def entry(self) -> RegistryEntry: ...

    async def put_in(self, state: DeviceState, reason: str) -> None: ...

    async def forget_counters(self, keys: Sequence[InitialKeyUse]) -> None:
        """Whatever they were, the next read under each of these initial keys is taken for new."""
        ...

    async def add_initial_key(self, initial_key_id: bytes) -> None:
        """Raises DeviceExistsError when some terminal has it, also this one."""
        ...


class Registering(Protocol):
    async def add(self, registration: Registration) -> Registered:
        """Raises DeviceExistsError when the id is taken by another registration, or an initial key is another terminal's."""
        ...


class ChangedDevices(Protocol):
    def held(
        self, merchant_id: MerchantId, device_id: DeviceId
    ) -> AbstractAsyncContextManager[HeldDevice]:
        """Raises DeviceNotFoundError, and DeviceStateConflictError when somebody else has it for too long."""
        ...

    def registering(self, *, keep: bool = True) -> AbstractAsyncContextManager[Registering]:
        """What is added within the block is there at its end: all of it, or nothing. Nothing in any case unless ``keep``."""
        ...


class ChangeDevices:
    def __init__(
        self,
        *,
        registry: ChangedDevices,
        audit_log: AuditLog,
        device_events: DeviceEvents,
        operator: Actor,
        request_id: RequestId | None = None,
    ) -> None:
        self._registry = registry
        self._audit_log = audit_log
        self._device_events = device_events
        self._operator = operator
        self._request_id = request_id

    async def register(self, registration: Registration) -> Registered:
        """Raises DeviceExistsError."""
        async with self._registry.registering() as registering:
            registered = await registering.add(registration)
            if registered is Registered.NEW:
                await self._record_registration(registration)
        return registered

    async def register_all(
        self, registrations: Sequence[Registration]
    ) -> Sequence[Registered | DeviceExistsError]:
        """In one transaction; one that is refused keeps no other from being registered."""
        async with self._registry.registering() as registering:
            outcomes = await _added(registering, registrations)
            await asyncio.gather(
                *(
                    self._record_registration(registration)
                    for registration, outcome in zip(registrations, outcomes, strict=True)
                    if outcome is Registered.NEW
                )
            )
        return outcomes

    async def try_all(
        self, registrations: Sequence[Registration]
    ) -> Sequence[Registered | DeviceExistsError]:
        """What :meth:`register_all` would come to. Nothing is changed or recorded."""
        async with self._registry.registering(keep=False) as registering:
            return await _added(registering, registrations)

    async def change_state(
        self, merchant_id: MerchantId, device_id: DeviceId, change: StateChange, reason: str = ""
    ) -> DeviceState:
        """Raises DeviceNotFoundError, DeviceStateConflictError, InvalidFieldError, CleartextCardDataError.

        1. hold the terminal
        2. see whether its state allows that
        3. record
        4. change
        """
        reason = checked_reason(reason)
        # 1.
        async with self._registry.held(merchant_id, device_id) as held:
            # 2.
            device = held.entry.device
            state = next_state(change, device.state, reason, has_sent=held.entry.has_sent)
            # 3.
            await self._record(
                EventKind.DEVICE_STATE_CHANGED,
                device,
                {
                    "change": change.value,
                    "from": device.state.value,
                    "to": state.value,
                    "reason": reason,
                },
            )
            # 4.
            await held.put_in(state, reason)
        return state

    async def reset_counter(
        self,
        merchant_id: MerchantId,
        device_id: DeviceId,
        initial_key_id: bytes | None,
        reason: str = "",
    ) -> Sequence[InitialKeyUse]:
        """Of one initial key, or of all that the terminal has: returned as they were before.

        Recorded reads of the terminal can be sent once more after it. Raises as :meth:`change_state` does, and InvalidFieldError for
        an initial key that is not the terminal's.
        """
        reason = checked_reason(reason)
        async with self._registry.held(merchant_id, device_id) as held:
            device = held.entry.device
            if device.state is DeviceState.RETIRED:
                raise DeviceStateConflictError("The device is retired: it sends nothing any more.")
            keys = [
                key
                for key in held.entry.initial_keys
                if initial_key_id in (None, key.initial_key_id)
            ]
            if not keys and initial_key_id is not None:
                raise InvalidFieldError("initial_key_id", "is not one of this device's")
            for key in keys:
                await self._record(
                    EventKind.DEVICE_COUNTER_RESET,
                    device,
                    {
                        "initial_key_id": key.initial_key_id.hex().upper(),
                        "high_water": "none" if key.high_water is None else key.high_water,
                        "reason": reason,
                    },
                )
            await held.forget_counters(keys)
        if keys:
            await self._device_events.note(
                DeviceEvent(DeviceEventKind.COUNTER_RESET, merchant_id, device_id)
            )
        return keys

    async def add_initial_key(
        self, merchant_id: MerchantId, device_id: DeviceId, initial_key_id: bytes
    ) -> None:
        """Raises DeviceNotFoundError, DeviceExistsError when some terminal has it, DeviceStateConflictError."""
        async with self._registry.held(merchant_id, device_id) as held:
            device = held.entry.device
            if not device.state.may_send:
                raise DeviceStateConflictError(f"The device is {device.state}: it gets no new key.")
            await held.add_initial_key(initial_key_id)
            await self._record(
                EventKind.DEVICE_REGISTERED,
                device,
                {"added_initial_key": initial_key_id.hex().upper()},
            )

    async def _record_registration(self, registration: Registration) -> None:
        device = registration.device
        details = {
            "bdk": device.bdk_id,
            "profile": registration.profile_name,
            "serial": device.serial,
            "make": registration.make,
            "model": registration.model,
            "firmware": registration.firmware,
            "initial_key_ids": ",".join(
                sorted(key.hex().upper() for key in device.initial_key_ids)
            ),
        }
        await self._record(
            EventKind.DEVICE_REGISTERED,
            device,
            {name: value for name, value in details.items() if value},
        )

    async def _record(self, kind: EventKind, device: Device, more: Mapping[str, str | int]) -> None:
        await self._audit_log.record(
            AuditEvent(
                kind,
                Outcome.DONE,
                self._operator,
                request_id=self._request_id,
                merchant_id=device.merchant_id,
                details={"device_id": device.device_id, **more},
            )
        )


async def _added(
    registering: Registering, registrations: Sequence[Registration]
) -> Sequence[Registered | DeviceExistsError]:
    outcomes: list[Registered | DeviceExistsError] = []
    for registration in registrations:
        try:
            outcomes.append(await registering.add(registration))
        except DeviceExistsError as error:
            outcomes.append(error)
    return outcomes
