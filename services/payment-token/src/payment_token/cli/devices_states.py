"""``payment-token devices suspend``, ``reactivate``, ``report-stolen``, ``retire`` and ``reset-counter``."""

from collections.abc import Sequence

import typer

from payment_token.cli.confirmation import confirm
from payment_token.cli.device_changes import (
    DeviceArgument,
    MerchantOption,
    names_of,
    with_changes,
)
from payment_token.cli.terminal import console
from payment_token.domain.change_devices import ChangeDevices
from payment_token.domain.device_registry import InitialKeyUse
from payment_token.domain.device_states import StateChange
from payment_token.domain.enrolment import DeviceState
from payment_token.domain.errors import InvalidFieldError
from payment_token.infrastructure.database.pool import Pool

_REASON = "Why. It stands in the registry and in the audit log."

Reason = typer.Option("", "--reason", help=_REASON)


def suspend(
    device_id: str = DeviceArgument,
    merchant: str = MerchantOption,
    reason: str = typer.Option(..., "--reason", help=_REASON),
) -> None:
    """Refuse what a terminal sends, until it is reactivated."""
    _changed(device_id, merchant, StateChange.SUSPEND, reason)


def reactivate(
    device_id: str = DeviceArgument,
    merchant: str = MerchantOption,
    reason: str = typer.Option(
        "", "--reason", help=f"{_REASON} Required for one that was reported as stolen."
    ),
) -> None:
    """Let a suspended terminal send again, or one that was stolen and is back."""
    _changed(device_id, merchant, StateChange.REACTIVATE, reason)


def report_stolen(
    device_id: str = DeviceArgument, merchant: str = MerchantOption, reason: str = Reason
) -> None:
    """Refuse what a terminal sends from now on: it is in the wrong hands."""
    _changed(device_id, merchant, StateChange.REPORT_STOLEN, reason)


def retire(
    device_id: str = DeviceArgument,
    merchant: str = MerchantOption,
    reason: str = Reason,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """End a terminal for good. It cannot be brought back, and its initial keys serve no other one."""
    confirm(f"Retire {device_id} of {merchant}? It cannot be brought back.", yes=yes)
    _changed(device_id, merchant, StateChange.RETIRE, reason)


def reset_counter(
    device_id: str = DeviceArgument,
    merchant: str = MerchantOption,
    initial_key_id: str | None = typer.Option(
        None,
        "--initial-key",
        metavar="HEX",
        help="One initial key, by the id that `devices show` has. Default: all of them.",
    ),
    reason: str = Reason,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """Forget which counters of a terminal were used: for one that was injected anew with the same key.

    Whoever has recorded reads of it can send each of them once more afterwards.
    """
    owner, name = names_of(device_id, merchant)
    key = None if initial_key_id is None else _initial_key_id(initial_key_id)
    confirm(
        f"Forget the used counters of {device_id} of {merchant}? Recorded reads of it can then be sent once more.",
        yes=yes,
    )

    async def reset(changes: ChangeDevices, _: Pool) -> Sequence[InitialKeyUse]:
        return await changes.reset_counter(owner, name, key, reason)

    reset_keys = with_changes(reset)
    if not reset_keys:
        console.print(
            f"{device_id} has no initial key yet: there was nothing to reset.", markup=False
        )
    for used in reset_keys:
        was = "unused" if used.high_water is None else f"at {used.high_water:,}"
        console.print(
            f"Reset: initial key {used.initial_key_id.hex().upper()} of {device_id}, which was {was}.",
            markup=False,
        )


def _changed(device_id: str, merchant: str, change: StateChange, reason: str) -> None:
    owner, name = names_of(device_id, merchant)

    async def run(changes: ChangeDevices, _: Pool) -> DeviceState:
        return await changes.change_state(owner, name, change, reason)

    state = with_changes(run)
    console.print(f"{device_id} of {merchant} is {state}. {_MEANS[state]}", markup=False)


_MEANS = {
    DeviceState.REGISTERED: "It may send, and has not sent yet.",
    DeviceState.ACTIVE: "It may send.",
    DeviceState.SUSPENDED: "What it sends is refused until it is reactivated.",
    DeviceState.STOLEN: "What it sends is refused.",
    DeviceState.RETIRED: "What it sends is refused, for good.",
}


def _initial_key_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidFieldError("--initial-key", "must be hexadecimal") from None
