"""How audit commands end: the exit codes are 0 verified, 1 tampered, 2 not checked, 3 incomplete."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import typer

from payment_token.audit_verifier.archive_folder import NoArchiveError
from payment_token.audit_verifier.receipts import ReceiptError
from payment_token.audit_verifier.report import Report, Verdict
from payment_token.audit_verifier.tile_hashes import LackingError
from payment_token.cli.terminal import console, listing, report_error
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.operator_error import OperatorError

_SAID = {
    Verdict.VERIFIED: "[green]Verified.[/]",
    Verdict.TAMPERED: "[red]Tampered with.[/]",
    Verdict.INCOMPLETE: "[yellow]Incomplete:[/] what could be checked is as it was sealed.",
}
_FINDINGS_SHOWN = 20


@contextmanager
def not_checked() -> Iterator[None]:
    """Whatever keeps a command from checking anything is exit 2, so that nobody takes it for a verdict."""
    try:
        yield
    except (OperatorError, PaymentTokenError, NoArchiveError, ReceiptError, LackingError) as error:
        reason = str(error)
    except psycopg.Error as error:
        reason = f"the database cannot be read ({error.sqlstate or type(error).__name__})"
    except OSError as error:
        reason = f"{error.filename or 'a file'} cannot be read or written ({error.strerror})"
    else:
        return
    report_error(reason)
    raise typer.Exit(Verdict.NOT_CHECKED)


def show(report: Report) -> None:
    """For people."""
    bad = report.first_bad
    console.print(_SAID[report.verdict])
    if bad is not None:
        where = f"leaf {bad.index:,}" if bad.index < report.tree_size else "beside the tree"
        console.print(f"The first that is bad: [bold]{where}[/], {bad.what}", markup=True)
        table = listing("leaf", "to", "what")
        for found in sorted(report.findings)[:_FINDINGS_SHOWN]:
            last = f"{found.last:,}" if found.last > found.index else ""
            table.add_row(f"{found.index:,}", last, found.what)
        console.print(table)
        more = report.findings_in_all - min(len(report.findings), _FINDINGS_SHOWN)
        if more:
            console.print(f"and {more:,} more: --json shows up to 200")
    for said in report.incomplete:
        console.print(f"Incomplete: {said}", markup=False)
    _show_counts(report)
    for said in report.remarks:
        console.print(said, markup=False)


def _show_counts(report: Report) -> None:
    table = listing("what", "checked")
    rows = {
        "log": report.origin,
        "leaves": f"{report.first_checked:,} to {report.tree_size:,}",
        "root": report.root.hex() if report.root else "unknown",
        "records": f"{report.records:,}",
        "leaves whose records are not here": f"{report.by_tiles_alone:,}",
        "seals": f"{report.seals:,}",
        "writers": f"{report.writers:,}",
        "tiles": f"{report.tiles:,}",
        "checkpoints kept outside": f"{report.outside_checkpoints:,}",
        "of them signed by a witness": f"{report.witnessed:,}",
        "receipts": f"{report.receipts:,}",
        "months of the archive": f"{report.months:,}",
        "records not sealed yet": f"{report.unsealed:,}",
    }
    for name, value in rows.items():
        if value != "0":
            table.add_row(name, value)
    console.print(table)
