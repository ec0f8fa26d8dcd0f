"""The lines of an import that were refused: on the terminal, and as a CSV file to be corrected and imported again."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from payment_token.cli.device_file import FORMULA, PASSED_OVER, DeviceFile, Line
from payment_token.cli.terminal import listing
from payment_token.domain.cleartext_guard import find_card_number
from payment_token.infrastructure.private_file import write_private_file
from payment_token.settings import ConfigurationError

_SHOWN = 25

# A report is no place for a card number either.
_REMOVED = "(removed)"
# A spreadsheet takes a field that begins so for a formula, and runs it.


@dataclass(frozen=True, slots=True)
class Refused:
    line: Line
    reason: str


def refused_table(refused: Sequence[Refused]) -> Table:
    """The first of them; their reasons hold no values, and the device's id is there to find them by."""
    table = listing("line", "device", "refused because")
    for one in refused[:_SHOWN]:
        table.add_row(
            str(one.line.number), escape(_safe(one.line, "device_id")), escape(one.reason)
        )
    if len(refused) > _SHOWN:
        table.add_row("…", "", f"and {len(refused) - _SHOWN:,} more: --refused FILE has them all")
    return table


def write_refused(path: Path, file: DeviceFile, refused: Sequence[Refused]) -> None:
    columns = [name for name in file.columns if name not in PASSED_OVER]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=file.delimiter, lineterminator="\n")
    writer.writerow((*PASSED_OVER, *columns))
    for one in refused:
        fields = [_safe(one.line, name) for name in columns]
        writer.writerow((one.line.number, one.reason, *fields))
    try:
        write_private_file(path, text.getvalue())
    except OSError as error:
        reason = error.strerror or "an error"
    else:
        return
    raise ConfigurationError(f"--refused: {path} cannot be written: {reason}.")


def check_new(path: Path) -> None:
    if path.exists() or not path.parent.is_dir():
        raise ConfigurationError(f"--refused: {path} must be a new file in a folder that exists.")


def _safe(line: Line, name: str) -> str:
    text = line.fields.get(name, "")
    if find_card_number(text):
        return _REMOVED
    return f"'{text}" if text.startswith(FORMULA) else text
