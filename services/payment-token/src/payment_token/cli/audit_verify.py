"""``payment-token audit verify``: was anything changed, taken away, put in or moved?"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.outside import OutsideCheckpoints, opened_checkpoints
from payment_token.audit_verifier.receipts import Receipts
from payment_token.audit_verifier.report import Report
from payment_token.audit_verifier.verify_archive import new_report, verify_archive
from payment_token.audit_verifier.verify_log import Progress, Start, VerifyLog
from payment_token.cli.audit_keys_given import (
    BRING_YOUR_OWN,
    KEY_HELP,
    given_keys,
    keys_of_archive,
    keys_of_database,
)
from payment_token.cli.audit_outcome import not_checked, show
from payment_token.cli.audit_read import record_audit_read
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.time_options import parse_time
from payment_token.infrastructure.database.audit_source import audit_source
from payment_token.settings import ConfigurationError, Settings


def verify(
    archive: Path | None = typer.Option(
        None,
        "--archive",
        metavar="DIR",
        help="An archive instead of the database; needs nothing else.",
    ),
    key: list[str] = typer.Option([], "--key", metavar="VKEY|FILE", help=KEY_HELP),
    checkpoints: list[Path] = typer.Option(
        [],
        "--checkpoints",
        metavar="FILE",
        help="Checkpoints that were kept outside; repeatable. Default: the deployment's file, if it is there.",
    ),
    receipts: Path | None = typer.Option(
        None, "--receipts", metavar="FILE", help="Receipts that workers kept, one a line."
    ),
    since: str | None = typer.Option(
        None,
        "--since",
        metavar="24h|TIME",
        help="Only what was sealed since, on the tree of before.",
    ),
    as_json: bool = typer.Option(False, "--json", help="For a program."),
) -> None:
    """Check the whole audit log. Exit 0 verified, 1 tampered with, 2 not checked, 3 incomplete."""
    with not_checked(), ExitStack() as files:
        wanted = (
            Receipts() if receipts is None else Receipts.parse(receipts.read_text().splitlines())
        )
        if archive is not None:
            if since is not None:
                raise ConfigurationError(
                    "--since is for the database; an archive is verified whole."
                )
            kept = [_opened(path, files) for path in checkpoints]
            report = _verify_archive(archive, key, kept, wanted)
        else:
            settings = load_settings()
            begin = None if since is None else parse_time("--since", since, datetime.now(UTC))
            # Before the snapshot: a checkpoint that is published meanwhile is of a tree that the snapshot does not have.
            kept = [_opened(path, files) for path in checkpoints or checkpoint_files(settings)]
            record_audit_read(settings, "verify", since=since)
            report = verify_database(settings, database_url(settings), key, kept, wanted, begin)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=1))
    else:
        show(report)
    raise typer.Exit(report.verdict)


def checkpoint_files(settings: Settings) -> list[Path]:
    file = settings.checkpoint_file
    return [file] if file is not None and file.is_file() else []


def _verify_archive(
    folder: Path, given: Sequence[str], kept: Sequence[tuple[str, "_Lines"]], receipts: Receipts
) -> Report:
    keys = given_keys(given) or keys_of_archive(folder)
    with _progress() as progress:
        report = verify_archive(
            folder,
            keys,
            outside=[(name, split_notes(lines)) for name, lines in kept],
            receipts=receipts,
            progress=progress,
        )
    if not given:
        report.remarks.append(BRING_YOUR_OWN.format(source="the archive"))
    return report


def verify_database(
    settings: Settings,
    url: str,
    given: Sequence[str],
    kept: Sequence[tuple[str, "_Lines"]],
    receipts: Receipts,
    since: datetime | None = None,
) -> Report:
    """``kept`` are files of checkpoints, by name; they were opened before."""
    keys = given_keys(given)
    with audit_source(url) as log, _progress() as progress:
        trusted: TrustedKeys = keys or keys_of_database(settings, log.signing_keys())
        report = new_report(trusted)
        start = Start(0 if since is None else log.size_before(since), since)
        places = [
            OutsideCheckpoints(
                name,
                opened_checkpoints(name, split_notes(lines), trusted, report),
                report,
                start.size,
            )
            for name, lines in kept
        ]
        verify_log = VerifyLog(
            log,
            trusted,
            report,
            live=log,
            outside=places,
            receipts=receipts,
            progress=progress(log.size() - start.size),
        )
        verify_log(start)
    if keys is None:
        report.remarks.append(BRING_YOUR_OWN.format(source="the database"))
    if not kept:
        report.remarks.append(
            "No checkpoints from outside of the database were compared: --checkpoints. Without them, whoever has the"
            " signing key may have made all of it anew."
        )
    return report


class _Lines:
    """The lines of a file as far as it is there now."""

    def __init__(self, file: TextIO, end: int) -> None:
        self._file = file
        self._end = end

    def __iter__(self) -> Iterator[str]:
        read = 0
        for line in self._file:
            read += len(line.encode())
            if read > self._end:
                return
            yield line


def _opened(path: Path, files: ExitStack) -> tuple[str, _Lines]:
    file = files.enter_context(path.open(encoding="utf-8", errors="replace", newline="\n"))
    return str(path), _Lines(file, path.stat().st_size)


@contextmanager
def _progress() -> Iterator[Callable[[int], Progress]]:
    """A bar on standard error, if that is a terminal."""
    bar = Bar(
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

    def begin(total: int) -> Progress:
        task = bar.add_task("verifying", total=total)
        return lambda done: bar.update(task, completed=done)

    with bar:
        yield begin
