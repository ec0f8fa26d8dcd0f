"""Events of terminals for administrators, as they stand in a query, in JSON and in OpenAPI."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import Request

from payment_token.api.caller_rules import merchant_of
from payment_token.api.rest.openapi import merchant_parameter
from payment_token.domain.api_key import APIKey
from payment_token.domain.cleartext_guard import refuse_card_number
from payment_token.domain.device_events import DeviceEventKind
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.identifiers import DEVICE_ID, DeviceId
from payment_token.domain.recorded_events import EventQuery, RecordedEvent

DEFAULT_LIMIT, MOST = 100, 500

_NAMES = ("merchant_id", "device_id", "kind", "since", "before", "limit")
_MOST_ID = 2**63 - 1
_ID_DIGITS = 19


class DeviceEventBody(BaseModel):
    """Equal events of a minute are one: ``ksn`` and ``detail`` are those of the first, ``last_at`` is when the last one was written."""

    event_id: int
    kind: DeviceEventKind
    merchant_id: str
    device_id: str
    ksn: str
    api_key_id: str
    detail: str
    count: int
    occurred_at: datetime
    last_at: datetime


class DeviceEventsBody(BaseModel):
    """The newest first. ``next_before`` is the ``before`` of the next page; null when there is none."""

    events: list[DeviceEventBody]
    next_before: int | None

    @staticmethod
    def render(found: Sequence[RecordedEvent], limit: int) -> bytes:
        more = len(found) == limit
        return to_json(
            {
                "events": [recorded.document() for recorded in found],
                "next_before": found[-1].event_id if more else None,
            }
        )


def event_query(request: Request, api_key: APIKey) -> tuple[EventQuery, int]:
    """What is asked for, and how many at most. Raises InvalidFieldError, CleartextCardDataError, ForbiddenError."""
    given: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in _NAMES:
            raise InvalidFieldError("query", "has a parameter that this route does not know")
        if name in given:
            raise InvalidFieldError(name, "must be given once")
        given[name] = text
    for name in ("merchant_id", "device_id"):
        refuse_card_number(name, given.get(name, ""))
    query = EventQuery(
        merchant_id=merchant_of(api_key, [given["merchant_id"]] if "merchant_id" in given else []),
        device_id=_device(given["device_id"]) if "device_id" in given else None,
        kind=_kind(given["kind"]) if "kind" in given else None,
        since=_time(given["since"]) if "since" in given else None,
        before=_number("before", given["before"], _MOST_ID) if "before" in given else None,
    )
    return query, _number("limit", given.get("limit", str(DEFAULT_LIMIT)), MOST)


def event_parameters() -> list[dict[str, Any]]:
    """What OpenAPI says of the query."""
    return [
        merchant_parameter(),
        _parameter("device_id", {"type": "string", "pattern": rf"^{DEVICE_ID.pattern}$"}),
        _parameter("kind", {"type": "string", "enum": [kind.value for kind in DeviceEventKind]}),
        _parameter("since", {"type": "string", "format": "date-time"}),
        _parameter("before", {"type": "integer", "minimum": 1, "maximum": _MOST_ID}),
        _parameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
        ),
    ]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _device(text: str) -> DeviceId:
    if not DEVICE_ID.fullmatch(text):
        raise InvalidFieldError("device_id", "must be 1 to 64 visible ASCII characters")
    return DeviceId(text)


def _kind(text: str) -> DeviceEventKind:
    if text not in set(DeviceEventKind):
        raise InvalidFieldError("kind", f"must be one of {', '.join(DeviceEventKind)}")
    return DeviceEventKind(text)


def _time(text: str) -> datetime:
    time = None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        pass
    if time is None or time.tzinfo is None:
        raise InvalidFieldError("since", "must be a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    return time


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS):
        raise InvalidFieldError(name, f"must be a whole number from 1 to {most}")
    if not 1 <= int(text) <= most:
        raise InvalidFieldError(name, f"must be a whole number from 1 to {most}")
    return int(text)
