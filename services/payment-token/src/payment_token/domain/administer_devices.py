"""What an administrator asks of the registry: register a terminal, look at them, change one. Always for one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from payment_token.domain.audit import Actor
from payment_token.domain.change_devices import ChangedDevices, ChangeDevices, Registered
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import (
    DeviceRequest,
    RegistryEntry,
    checked_registration,
)
from payment_token.domain.device_states import StateChange
from payment_token.domain.enrolment import BaseDerivationKey, DeviceState
from payment_token.domain.errors import DeviceNotFoundError, InvalidFieldError
from payment_token.domain.identifiers import DEVICE_ID, DeviceId, MerchantId, RequestId
from payment_token.domain.ports import AuditLog
from payment_token.domain.reader_profiles import NamedProfile


class DeviceRegistry(ChangedDevices, Protocol):
    async def find(self, merchant_id: MerchantId, device_id: DeviceId) -> RegistryEntry | None: ...

    async def page(
        self,
        merchant_id: MerchantId | None = None,
        state: DeviceState | None = None,
        *,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
    ) -> Sequence[RegistryEntry]:
        """By merchant and id, those behind ``after``."""
        ...


class ServingBDKs(Protocol):
    async def serving(self, bdk_id: str, merchant_id: MerchantId) -> BaseDerivationKey | None:
        """``None`` when there is no such key, it is retired, or serves another merchant."""
        ...


class DeviceProfiles(Protocol):
    async def find(self, name: str) -> NamedProfile | None: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which request id."""

    actor: Actor
    request_id: RequestId


class AdministerDevices:
    def __init__(
        self,
        *,
        registry: DeviceRegistry,
        bdks: ServingBDKs,
        profiles: DeviceProfiles,
        audit_log: AuditLog,
        device_events: DeviceEvents,
    ) -> None:
        self._registry = registry
        self._bdks = bdks
        self._profiles = profiles
        self._audit_log = audit_log
        self._device_events = device_events

    async def register(
        self, caller: Caller, merchant_id: MerchantId, request: DeviceRequest
    ) -> tuple[Registered, RegistryEntry]:
        """Raises DeviceExistsError, InvalidFieldError, CleartextCardDataError.

        ``request`` names its profile, or has none. Again is fine while nothing of it differs.
        """
        profile = await self._profile(request.profile_name)
        bdk = await self._bdks.serving(request.bdk_id, merchant_id)
        registration = checked_registration(request.with_profile(profile), bdk)
        registered = await self._changes(caller).register(registration)
        return registered, await self.view(merchant_id, registration.device.device_id)

    async def view(self, merchant_id: MerchantId, device_id: str) -> RegistryEntry:
        """Raises DeviceNotFoundError."""
        entry = await self._registry.find(merchant_id, _known_form(device_id))
        if entry is None:
            raise DeviceNotFoundError
        return entry

    async def page(
        self, merchant_id: MerchantId, state: DeviceState | None, after: str, limit: int
    ) -> Sequence[RegistryEntry]:
        return await self._registry.page(
            merchant_id, state, after=(merchant_id, after), limit=limit
        )

    async def change_state(
        self,
        caller: Caller,
        merchant_id: MerchantId,
        device_id: str,
        change: StateChange,
        reason: str,
    ) -> RegistryEntry:
        """Raises as :meth:`ChangeDevices.change_state` does."""
        name = _known_form(device_id)
        await self._changes(caller).change_state(merchant_id, name, change, reason)
        return await self.view(merchant_id, name)

    async def reset_counter(
        self,
        caller: Caller,
        merchant_id: MerchantId,
        device_id: str,
        initial_key_id: bytes | None,
        reason: str,
    ) -> RegistryEntry:
        """Raises as :meth:`ChangeDevices.reset_counter` does."""
        name = _known_form(device_id)
        await self._changes(caller).reset_counter(merchant_id, name, initial_key_id, reason)
        return await self.view(merchant_id, name)

    async def _profile(self, name: str | None) -> DeviceProfile:
        if name is None:
            return DeviceProfile()
        named = await self._profiles.find(name)
        if named is None:
            raise InvalidFieldError("profile", "is not the name of a device profile")
        return named.profile

    def _changes(self, caller: Caller) -> ChangeDevices:
        return ChangeDevices(
            registry=self._registry,
            audit_log=self._audit_log,
            device_events=self._device_events,
            operator=caller.actor,
            request_id=caller.request_id,
        )


def _known_form(device_id: str) -> DeviceId:
    """What cannot be a device's id is like any other that is unknown."""
    if not DEVICE_ID.fullmatch(device_id):
        raise DeviceNotFoundError
    return DeviceId(device_id)
