"""``payment-token keys``: what there is of the keys above stored data, and what was done to them."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import typer
from rich.markup import escape
from rich.table import Table

from payment_token.bootstrap.key_life import KeyLife
from payment_token.bootstrap.keys import Keys
from payment_token.cli.deployment import load_settings, with_key_life
from payment_token.cli.terminal import console, listing
from payment_token.domain.key_life.cryptoperiod import Standing
from payment_token.domain.key_life.key_event import SignedStatement, verifies
from payment_token.domain.key_life.version import KeyPurpose, KeyState, KeyVersion
from payment_token.infrastructure.database.epoch_keys import WrappedEpochKey
from payment_token.infrastructure.database.key_holders import KeyHolder

app = typer.Typer(
    help="The keys above stored data: rotation and its history.", no_args_is_help=True
)

JSONOption = typer.Option(False, "--json", help="For programs.")


@app.command("list")
def list_keys() -> None:
    """List every version of every key, the oldest first."""
    table = listing("purpose", "version", "state", "active since", "gone", "KEK")

    async def read(life: KeyLife) -> Sequence[KeyVersion]:
        return await life.keys.versions.all()

    for version in with_key_life(load_settings(), read):
        table.add_row(
            version.purpose,
            version.version,
            version.state,
            _day(version.activated_at),
            _day(version.destroyed_at or version.destruction_due_at),
            escape(version.kek_uri),
        )
    console.print(table)


@app.command("status")
def status(as_json: bool = JSONOption) -> None:
    """Show how old each active key is, what is still under older ones, and who runs with which. Exit 1 when one is due."""

    async def read(life: KeyLife) -> Status:
        return await _status(life.keys)

    found = with_key_life(load_settings(), read)
    console.print_json(json.dumps(found.as_json())) if as_json else _show(found)
    if any(row.standing in (Standing.DUE, Standing.CLOSED) for row in found.rows):
        raise typer.Exit(1)


@app.command("history")
def history(as_json: bool = JSONOption) -> None:
    """Show what was done to keys, each statement checked against its signature. Exit 1 when one does not verify."""

    async def read(life: KeyLife) -> tuple[Sequence[SignedStatement], Sequence[KeyVersion]]:
        versions = life.keys.versions
        return await versions.history(), await versions.all(KeyPurpose.AUDIT_SIGNING)

    statements, signing_keys = with_key_life(load_settings(), read)
    public_keys = {key.version: key.public_key or b"" for key in signing_keys}
    checked = [(signed, _is_sound(signed, public_keys)) for signed in statements]
    if as_json:
        console.print_json(json.dumps([_statement_json(*row, public_keys) for row in checked]))
    else:
        console.print(_history_table(checked))
    if not all(sound for _, sound in checked):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """``standing`` and ``due_at`` are of the active version; ``rows`` how many records name the version."""

    version: KeyVersion
    rows: int
    standing: Standing | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    rows: Sequence[StatusRow]
    epochs: Sequence[WrappedEpochKey]
    holders: Sequence[KeyHolder]

    def as_json(self) -> dict[str, object]:
        return {
            "keys": [
                {
                    "purpose": row.version.purpose,
                    "version": row.version.version,
                    "state": row.version.state,
                    "kek": row.version.kek_uri,
                    "records": row.rows,
                    "standing": row.standing,
                    "rotation_due_at": None if row.due_at is None else row.due_at.isoformat(),
                }
                for row in self.rows
            ],
            "sad_epoch_keys": [
                {
                    "id": key.epoch_key_id,
                    "kek": key.kms_key_id,
                    "dies_at": key.dies_at.isoformat(),
                }
                for key in self.epochs
            ],
            "processes": [
                {"process": holder.description, "keys": sorted(holder.held)}
                for holder in self.holders
            ],
        }


async def _status(keys: Keys) -> Status:
    versions = await keys.versions.all()
    rows = [
        await _status_row(keys, version)
        for version in versions
        if version.state is not KeyState.DESTROYED
    ]
    return Status(rows, await keys.epoch_store.live(), await keys.holders.running())


async def _status_row(keys: Keys, version: KeyVersion) -> StatusRow:
    rows = await keys.versions.rows_under(version)
    if version.state is not KeyState.ACTIVE or version.activated_at is None:
        return StatusRow(version, rows, None, None)
    return StatusRow(
        version,
        rows,
        keys.cryptoperiod.standing(version.activated_at, keys.clock.now()),
        keys.cryptoperiod.due_at(version.activated_at),
    )


def _show(found: Status) -> None:
    table = listing("purpose", "version", "state", "records", "rotation due", "")
    for row in found.rows:
        table.add_row(
            row.version.purpose,
            row.version.version,
            row.version.state,
            "" if row.version.purpose is KeyPurpose.AUDIT_SIGNING else f"{row.rows:,}",
            _day(row.due_at),
            _said(row.standing),
        )
    console.print(table)
    last = max((key.dies_at for key in found.epochs), default=None)
    dies = "" if last is None else f", the last one dies at {last:%Y-%m-%d %H:%M %Z}"
    console.print(f"SAD epoch keys: {len(found.epochs)} live{dies}")
    names = {f"{row.version.purpose}:{row.version.version}" for row in found.rows}
    for holder in found.holders:
        missing = sorted(names - holder.held - _ended(found.rows))
        console.print(
            f"{holder.description}: {'has all keys' if not missing else 'lacks ' + ', '.join(missing)}"
        )
    if not found.holders:
        console.print("No process of the service runs with these keys now.")


def _ended(rows: Sequence[StatusRow]) -> set[str]:
    return {
        f"{row.version.purpose}:{row.version.version}"
        for row in rows
        if not row.version.state.opens
    }


def _said(standing: Standing | None) -> str:
    if standing is None or standing is Standing.CURRENT:
        return ""
    if standing is Standing.DUE_SOON:
        return "[yellow]due soon: payment-token keys rotate[/]"
    if standing is Standing.DUE:
        return "[red]due: payment-token keys rotate[/]"
    return "[red]overdue, and sealing has stopped: payment-token keys rotate[/]"


def _history_table(checked: Sequence[tuple[SignedStatement, bool]]) -> Table:
    table = listing("time", "key", "what", "details", "signed by", "")
    for signed, sound in checked:
        # What does not verify is somebody's text: shown as it stands, and not read.
        cells = _read_statement(signed.statement) if sound else ("", "", "", signed.statement)
        table.add_row(
            *(escape(cell) for cell in (*cells, signed.signing_key)),
            "[green]verified[/]" if sound else "[red]does not verify[/]",
        )
    return table


def _read_statement(text: str) -> tuple[str, str, str, str]:
    statement = json.loads(text)
    details = statement["details"]
    return (
        statement["time"][:19].replace("T", " "),
        f"{statement['purpose']} {statement['version']}",
        statement["event"],
        ", ".join(f"{name} {details[name]}" for name in details),
    )


def _statement_json(
    signed: SignedStatement,
    sound: bool,
    public_keys: dict[str, bytes],
) -> dict[str, object]:
    return {
        "statement": signed.statement,
        "signature": b64encode(signed.signature).decode(),
        "signing_key": signed.signing_key,
        "public_key": b64encode(public_keys.get(signed.signing_key, b"")).decode(),
        "verifies": sound,
    }


def _is_sound(signed: SignedStatement, public_keys: dict[str, bytes]) -> bool:
    public_key = public_keys.get(signed.signing_key)
    return public_key is not None and verifies(signed, public_key)


def _day(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"
