"""The states of a terminal, and which change leads from which to which: one table.

===========  ==========  ========  =========================================================
from         may send    leads to  by
===========  ==========  ========  =========================================================
registered   yes         active    its first read
registered   yes         suspended, stolen, retired
active       yes         suspended, stolen, retired
suspended    no          active, stolen, retired
stolen       no          active (with a reason), retired
retired      no          nothing   final: a reader that comes back is registered under another id
===========  ==========  ========  =========================================================

A terminal that has sent nothing yet is ``registered`` again, not ``active``, when it is reactivated.
"""

from collections.abc import Mapping
from enum import StrEnum

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import (
    CleartextCardDataError,
    DeviceStateConflictError,
    InvalidFieldError,
)

LONGEST_REASON = 200


class StateChange(StrEnum):
    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    REPORT_STOLEN = "report-stolen"
    RETIRE = "retire"


class Reason(StrEnum):
    REQUIRED = "required"
    OPTIONAL = "optional"


TRANSITIONS: Mapping[StateChange, Mapping[DeviceState, Reason]] = {
    StateChange.SUSPEND: {
        DeviceState.REGISTERED: Reason.REQUIRED,
        DeviceState.ACTIVE: Reason.REQUIRED,
    },
    StateChange.REACTIVATE: {
        DeviceState.SUSPENDED: Reason.OPTIONAL,
        DeviceState.STOLEN: Reason.REQUIRED,
    },
    StateChange.REPORT_STOLEN: {
        DeviceState.REGISTERED: Reason.OPTIONAL,
        DeviceState.ACTIVE: Reason.OPTIONAL,
        DeviceState.SUSPENDED: Reason.OPTIONAL,
    },
    StateChange.RETIRE: {
        DeviceState.REGISTERED: Reason.OPTIONAL,
        DeviceState.ACTIVE: Reason.OPTIONAL,
        DeviceState.SUSPENDED: Reason.OPTIONAL,
        DeviceState.STOLEN: Reason.OPTIONAL,
    },
}

_LEADS_TO = {
    StateChange.SUSPEND: DeviceState.SUSPENDED,
    StateChange.REPORT_STOLEN: DeviceState.STOLEN,
    StateChange.RETIRE: DeviceState.RETIRED,
}


def next_state(
    change: StateChange, state: DeviceState, reason: str, *, has_sent: bool
) -> DeviceState:
    """Raises DeviceStateConflictError, and InvalidFieldError where a reason is required and there is none."""
    rule = TRANSITIONS[change].get(state)
    if rule is None:
        raise DeviceStateConflictError(_refusal(change, state))
    if rule is Reason.REQUIRED and not reason:
        raise InvalidFieldError("reason", f"is required to {_SPOKEN[change]} a {state} device")
    if change is StateChange.REACTIVATE:
        return DeviceState.ACTIVE if has_sent else DeviceState.REGISTERED
    return _LEADS_TO[change]


def checked_reason(text: str) -> str:
    """It stands in the registry and in the audit log. Raises InvalidFieldError, CleartextCardDataError."""
    text = text.strip()
    if len(text) > LONGEST_REASON or not (text or "x").isprintable():
        raise InvalidFieldError("reason", f"must be at most {LONGEST_REASON} printable characters")
    if find_card_number(text):
        raise CleartextCardDataError("reason")
    return text


_SPOKEN = {
    StateChange.SUSPEND: "suspend",
    StateChange.REACTIVATE: "reactivate",
    StateChange.REPORT_STOLEN: "report as stolen",
    StateChange.RETIRE: "retire",
}


def _refusal(change: StateChange, state: DeviceState) -> str:
    if state is DeviceState.RETIRED:
        return "The device is retired, which is final. Register the reader under another id."
    allowed = ", ".join(other for other in StateChange if state in TRANSITIONS[other])
    return f"The device is {state}: it cannot be {_DONE[change]}. What can be done: {allowed}."


_DONE = {
    StateChange.SUSPEND: "suspended",
    StateChange.REACTIVATE: "reactivated",
    StateChange.REPORT_STOLEN: "reported as stolen",
    StateChange.RETIRE: "retired",
}
