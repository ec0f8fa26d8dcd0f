"""Which change leads from which state to which; each pair is spelled out, so that none is allowed by accident."""

import pytest

from payment_token.domain.device_states import (
    LONGEST_REASON,
    TRANSITIONS,
    StateChange,
    checked_reason,
    next_state,
)
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import (
    CleartextCardDataError,
    DeviceStateConflictError,
    InvalidFieldError,
)

R, A, S, T, E = (
    DeviceState.REGISTERED,
    DeviceState.ACTIVE,
    DeviceState.SUSPENDED,
    DeviceState.STOLEN,
    DeviceState.RETIRED,
)

LEADS_TO = {
    (StateChange.SUSPEND, R): S,
    (StateChange.SUSPEND, A): S,
    (StateChange.REACTIVATE, S): A,
    (StateChange.REACTIVATE, T): A,
    (StateChange.REPORT_STOLEN, R): T,
    (StateChange.REPORT_STOLEN, A): T,
    (StateChange.REPORT_STOLEN, S): T,
    (StateChange.RETIRE, R): E,
    (StateChange.RETIRE, A): E,
    (StateChange.RETIRE, S): E,
    (StateChange.RETIRE, T): E,
}
NEEDS_REASON = {
    (StateChange.SUSPEND, R),
    (StateChange.SUSPEND, A),
    (StateChange.REACTIVATE, T),
}


@pytest.mark.parametrize("state", DeviceState)
@pytest.mark.parametrize("change", StateChange)
def test_every_change_of_every_state(change: StateChange, state: DeviceState) -> None:
    expected = LEADS_TO.get((change, state))
    if expected is None:
        with pytest.raises(DeviceStateConflictError, match=f"The device is {state}"):
            next_state(change, state, "because", has_sent=True)
    else:
        assert next_state(change, state, "because", has_sent=True) is expected


@pytest.mark.parametrize(("change", "state"), LEADS_TO)
def test_where_a_reason_is_required(change: StateChange, state: DeviceState) -> None:
    if (change, state) in NEEDS_REASON:
        with pytest.raises(InvalidFieldError, match="reason: is required to"):
            next_state(change, state, "", has_sent=True)
    else:
        assert next_state(change, state, "", has_sent=True) is LEADS_TO[change, state]


def test_what_has_never_sent_is_registered_again() -> None:
    assert next_state(StateChange.REACTIVATE, S, "", has_sent=False) is R
    assert next_state(StateChange.REACTIVATE, T, "found", has_sent=False) is R


def test_nothing_leads_out_of_the_last_state() -> None:
    assert all(E not in rules for rules in TRANSITIONS.values())


def test_a_refusal_says_what_can_be_done() -> None:
    with pytest.raises(DeviceStateConflictError) as refused:
        next_state(StateChange.SUSPEND, T, "x", has_sent=True)
    assert str(refused.value) == (
        "The device is stolen: it cannot be suspended. What can be done: reactivate, retire."
    )


@pytest.mark.parametrize(
    "text", ["x" * (LONGEST_REASON + 1), "two\nlines", "\x00", "a\tb", "\ud800"]
)
def test_what_is_no_reason(text: str) -> None:
    with pytest.raises(InvalidFieldError, match="reason: must be at most 200 printable"):
        checked_reason(text)


def test_a_reason_holds_no_card_number() -> None:
    with pytest.raises(CleartextCardDataError) as refused:
        checked_reason("charged 4111 1111 1111 1111 twice")
    assert "4111" not in str(refused.value)


def test_a_reason_is_kept_as_it_is() -> None:
    assert checked_reason("  Diebstahl, Anzeige 4711/26 ") == "Diebstahl, Anzeige 4711/26"
    assert checked_reason("x" * LONGEST_REASON) == "x" * LONGEST_REASON
