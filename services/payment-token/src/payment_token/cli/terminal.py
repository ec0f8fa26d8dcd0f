"""How commands print: for a person's terminal, or for a program that reads the lines."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

_WIDE = 240

# Into a pipe or a file nothing is cut to the width of a screen that is not there.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)


def listing(*columns: str) -> Table:
    """A table whose cells wrap rather than lose what a person wants to copy."""
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def report_error(reason: str) -> None:
    """One line on stderr, whose first letter is a capital."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"Error: {reason[:1].upper()}{reason[1:]}", style="red", markup=False
    )
