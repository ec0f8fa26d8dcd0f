"""Events of terminals as they are kept: equal ones of a minute are one, with a count; and how they are found again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.identifiers import DeviceId, MerchantId

# X9.24-1 with and without its leading FFFF, X9.24-3.
_KSN = re.compile(r"[0-9A-F]{16}|[0-9A-F]{20}|[0-9A-F]{24}")


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """``event`` is the first of ``count`` that are equal in all but KSN and detail."""

    event: DeviceEvent
    count: int


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """``occurred_at`` and ``last_at`` are the database's times of the first and the last one that it counts."""

    event_id: int
    event: DeviceEvent
    count: int
    occurred_at: datetime
    last_at: datetime

    def document(self) -> dict[str, str | int | datetime]:
        """As every list of events has it."""
        return {
            "event_id": self.event_id,
            "kind": self.event.kind.value,
            "merchant_id": self.event.merchant_id,
            "device_id": self.event.device_id,
            "ksn": self.event.ksn,
            "api_key_id": self.event.api_key_id,
            "detail": self.event.detail,
            "count": self.count,
            "occurred_at": self.occurred_at,
            "last_at": self.last_at,
        }


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What is ``None`` does not matter. ``before`` is the id of an event: what is older is found."""

    merchant_id: MerchantId | None = None
    device_id: DeviceId | None = None
    kind: DeviceEventKind | None = None
    since: datetime | None = None
    before: int | None = None


class RecordedEvents(Protocol):
    async def find(self, query: EventQuery, limit: int) -> Sequence[RecordedEvent]:
        """The newest first. Raises DatabaseUnavailableError."""
        ...


def without_card_data(event: DeviceEvent) -> DeviceEvent:
    """The event as it may be stored: what a caller claims may be a card number, the KSN's field as well as any."""
    ksn = event.ksn.upper()
    return replace(
        event,
        device_id=DeviceId("") if find_card_number(event.device_id) else event.device_id,
        ksn=ksn if _KSN.fullmatch(ksn) and not find_card_number(ksn) else "",
    )
