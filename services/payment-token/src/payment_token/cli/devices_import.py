"""``payment-token devices import``: terminals by the thousand, from a CSV file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import typer

from payment_token.cli.deployment import load_settings
from payment_token.cli.device_changes import with_changes
from payment_token.cli.device_file import DeviceFile, Line
from payment_token.cli.export_progress import shown_progress
from payment_token.cli.refused_lines import Refused, check_new, refused_table, write_refused
from payment_token.cli.terminal import console
from payment_token.domain.change_devices import ChangeDevices, Registered
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import (
    DeviceRequest,
    Registration,
    checked_registration,
)
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import (
    DeviceExistsError,
    InvalidFieldError,
    InvalidInputError,
    PaymentTokenError,
)
from payment_token.domain.reader_profiles import BUILT_IN, NamedProfile
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.device_profiles import PostgresDeviceProfiles
from payment_token.infrastructure.database.pool import Pool

_IN_A_TRANSACTION = 200


@dataclass(frozen=True, slots=True)
class Known:
    """What the lines may refer to, and what stands in for a field that a line leaves empty."""

    bdks: Mapping[str, BaseDerivationKey]
    profiles: Mapping[str, NamedProfile]
    defaults: Mapping[str, str]


@dataclass(slots=True)
class Import:
    """How far it has come. ``devices`` and ``initial_keys`` are those of lines before, with their line numbers."""

    registered: Counter[Registered] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    devices: dict[tuple[str, str], int] = field(default_factory=dict)
    initial_keys: dict[tuple[str | None, bytes], int] = field(default_factory=dict)
    done: int = 0


def import_devices(
    file: Path = typer.Argument(..., metavar="FILE", help="CSV; its first line names the columns."),
    merchant: str | None = typer.Option(
        None, "--merchant", metavar="ID", help="For lines without a merchant_id."
    ),
    bdk: str | None = typer.Option(None, "--bdk", metavar="ID", help="For lines without a bdk_id."),
    profile: str | None = typer.Option(
        None, "--profile", metavar="NAME", help="For lines without a profile."
    ),
    refused: Path | None = typer.Option(
        None,
        "--refused",
        metavar="FILE",
        help="A new file for the refused lines, with the reasons: correct it, and import it.",
    ),
    encoding: str | None = typer.Option(
        None, "--encoding", help="Of the file, where it is not UTF-8: for example cp1252."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be, and change nothing."),
) -> None:
    """Register the terminals of a CSV file: device_id, merchant_id, bdk_id, ksn, serial, make, model, firmware, profile.

    Only device_id must be there. Several KSNs of one terminal are separated by spaces. A line that is refused keeps no other from
    being registered, and the command ends with 1 then. It can be run again: what is registered so already is left as it is.
    """
    lines = DeviceFile(file, encoding)
    if refused is not None:
        check_new(refused)
    defaults = {"merchant_id": merchant, "bdk_id": bdk, "profile": profile}
    given = {name: value for name, value in defaults.items() if value is not None}
    outcome, interruption = _imported(lines, given, dry_run=dry_run)
    _report(outcome, dry_run=dry_run)
    if refused is not None and outcome.refused:
        write_refused(refused, lines, outcome.refused)
        console.print(f"The refused lines are in {refused}.", markup=False)
    if interruption is not None:
        console.print("It ended before its time. Run it again: what is registered is passed over.")
        raise interruption
    if outcome.refused:
        raise typer.Exit(1)


def _imported(
    lines: DeviceFile, defaults: Mapping[str, str], *, dry_run: bool
) -> tuple[Import, BaseException | None]:
    load_settings()
    outcome = Import()
    total = lines.count()

    async def run(changes: ChangeDevices, pool: Pool) -> None:
        known = await _known(pool, defaults)
        with shown_progress("Checking" if dry_run else "Registering") as progress:
            arriving = iter(lines)
            while some := list(islice(arriving, _IN_A_TRANSACTION)):
                await _register(changes, some, known, outcome, dry_run=dry_run)
                outcome.done += len(some)
                progress(outcome.done, total)

    try:
        with_changes(run)
    except (PaymentTokenError, KeyboardInterrupt) as error:
        return outcome, error
    return outcome, None


async def _known(pool: Pool, defaults: Mapping[str, str]) -> Known:
    bdks = {
        known.bdk.bdk_id: known.bdk
        for known in await PostgresDeviceDirectory(pool).list_bdks()
        if known.retired_at is None
    }
    own = {named.name: named for named in await PostgresDeviceProfiles(pool).own()}
    return Known(bdks, {**own, **BUILT_IN}, defaults)


async def _register(
    changes: ChangeDevices, lines: Sequence[Line], known: Known, outcome: Import, *, dry_run: bool
) -> None:
    good: list[tuple[Line, Registration]] = []
    for line in lines:
        try:
            registration = _registration(line, known)
            _check_unlike_before(line, registration, outcome)
        except InvalidInputError as error:
            outcome.refused.append(Refused(line, line.fault or _reason(error)))
        else:
            good.append((line, registration))
    register = changes.try_all if dry_run else changes.register_all
    results = await register([registration for _, registration in good])
    for (line, _), result in zip(good, results, strict=True):
        if isinstance(result, DeviceExistsError):
            outcome.refused.append(Refused(line, result.detail))
        else:
            outcome.registered[result] += 1


def _registration(line: Line, known: Known) -> Registration:
    if line.fault:
        raise InvalidFieldError("line", line.fault)
    fields = {**known.defaults, **line.fields}
    name = fields.get("profile")
    request = DeviceRequest(
        merchant_id=fields.get("merchant_id", ""),
        device_id=fields.get("device_id", ""),
        bdk_id=fields.get("bdk_id", ""),
        ksns=fields.get("ksn", "").split(),
        serial=fields.get("serial"),
        make=fields.get("make"),
        model=fields.get("model"),
        firmware=fields.get("firmware"),
        profile_name=name,
        profile=_profile(name, known),
    )
    bdk = known.bdks.get(request.bdk_id)
    if bdk is not None and bdk.merchant_id not in (None, request.merchant_id):
        bdk = None
    return checked_registration(request, bdk)


def _reason(error: InvalidInputError) -> str:
    """By the names of the columns, and without what only a request has."""
    first, _, rest = error.detail.partition(" Nothing of the request was stored.")
    return (first + rest).replace("ksns: ", "ksn: ", 1).rstrip(".")


def _profile(name: str | None, known: Known) -> DeviceProfile:
    if name is None:
        return DeviceProfile()
    if name not in known.profiles:
        raise InvalidFieldError("profile", "is no name that `devices profiles` lists")
    return known.profiles[name].profile


def _check_unlike_before(line: Line, registration: Registration, outcome: Import) -> None:
    device = registration.device
    name = (device.merchant_id, device.device_id)
    if name in outcome.devices:
        raise InvalidFieldError("device_id", f"stands on line {outcome.devices[name]} already")
    keys = [(device.bdk_id, key) for key in device.initial_key_ids]
    for key in keys:
        if key in outcome.initial_keys:
            raise InvalidFieldError("ksn", f"is of the device on line {outcome.initial_keys[key]}")
    outcome.devices[name] = line.number
    outcome.initial_keys.update((key, line.number) for key in keys)


def _report(outcome: Import, *, dry_run: bool) -> None:
    if outcome.refused:
        outcome.refused.sort(key=lambda one: one.line.number)
        console.print(refused_table(outcome.refused))
    new, before = outcome.registered[Registered.NEW], outcome.registered[Registered.BEFORE]
    console.print(
        f"{'Would register' if dry_run else 'Registered'} {new:,} of {outcome.done:,} devices."
        f" {before:,} were registered so before. {len(outcome.refused):,} lines were refused."
    )
