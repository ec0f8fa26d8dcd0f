"""A terminal of the registry as programs see it: the command line's ``--json``, and the API."""

from typing import Any

from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import InitialKeyUse, RegistryEntry


def registry_document(entry: RegistryEntry) -> dict[str, Any]:
    """Texts, numbers and times; keys and initial keys by name only."""
    device, registration = entry.device, entry.registration
    return {
        "merchant_id": device.merchant_id,
        "device_id": device.device_id,
        "bdk_id": device.bdk_id,
        "state": device.state.value,
        "state_changed_at": entry.state_changed_at,
        "state_reason": entry.state_reason,
        "serial": device.serial,
        "make": registration.make,
        "model": registration.model,
        "firmware": registration.firmware,
        "profile": registration.profile_name,
        "encryption": profile_document(device.profile),
        "registered_at": entry.created_at,
        "first_seen_at": entry.first_seen_at,
        "last_seen_at": entry.last_seen_at,
        "tokens": entry.tokens,
        "initial_keys": [_key_document(key) for key in entry.initial_keys],
    }


def profile_document(profile: DeviceProfile) -> dict[str, str | None]:
    """What the profile leaves open is ``None``."""
    return {
        "scheme": profile.scheme,
        "key_variant": profile.key_variant,
        "cipher": profile.cipher,
        "mode": profile.mode,
        "iv": None if profile.iv is None else profile.iv.hex(),
        "container": profile.container,
    }


def _key_document(key: InitialKeyUse) -> dict[str, Any]:
    return {
        "initial_key_id": key.initial_key_id.hex().upper(),
        "bdk_id": key.bdk_id,
        "newest_counter": key.high_water,
        "bound_at": key.bound_at,
        "first_seen_at": key.first_seen_at,
        "last_seen_at": key.last_seen_at,
        "tokens": key.tokens,
    }
