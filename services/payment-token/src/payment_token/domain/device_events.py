"""What terminals do that an operator should hear of."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from payment_token.domain.identifiers import DeviceId, MerchantId


class DeviceEventKind(StrEnum):
    DECRYPTION_FAILED = "decryption_failed"  # the detail is the stage
    KSN_BARRED = "ksn_barred"  # an API key has failed too often under one KSN
    KSN_REPLAYED = "ksn_replayed"
    KSN_BEHIND_WINDOW = "ksn_behind_window"
    KSN_JUMPED = "ksn_jumped"  # accepted
    UNKNOWN_DEVICE = "unknown_device"
    DEVICE_NOT_ACTIVE = "device_not_active"  # suspended, stolen or retired; the detail is the state
    CLEARTEXT_CARD_DATA = "cleartext_card_data"  # the detail is the field
    SUSPENDED_AUTOMATICALLY = "suspended_automatically"
    COUNTER_RESET = "counter_reset"


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """``device_id`` and ``ksn`` (upper-case hexadecimal) are what the request claims. ``detail`` holds no value of a request."""

    kind: DeviceEventKind
    merchant_id: MerchantId
    device_id: DeviceId
    ksn: str = ""
    api_key_id: str = ""
    detail: str = ""


class DeviceEvents(Protocol):
    async def note(self, event: DeviceEvent) -> None:
        """Stores the event, or counts it up where many of a kind come within a minute. It never fails a request."""
        ...
