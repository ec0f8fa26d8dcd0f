"""``payment-token audit prove``: is the record of a receipt in the log?"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import typer

from payment_token.audit_verifier import times
from payment_token.audit_verifier.archive_folder import ArchiveFolder
from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.locate import Located, entry_at, locate, newest_seal
from payment_token.audit_verifier.proofs import ProofError
from payment_token.audit_verifier.receipts import Receipt
from payment_token.audit_verifier.record import RecordError, read_record
from payment_token.audit_verifier.report import Verdict
from payment_token.audit_verifier.sealed_log import SealedLog
from payment_token.audit_verifier.signed_note import NoteError
from payment_token.audit_verifier.tile_hashes import TileHashes
from payment_token.audit_verifier.tlog_proof import TlogProof
from payment_token.cli.audit_keys_given import (
    KEY_HELP,
    given_keys,
    keys_of_archive,
    keys_of_database,
)
from payment_token.cli.audit_outcome import not_checked
from payment_token.cli.audit_read import record_audit_read
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, listing, report_error
from payment_token.infrastructure.database.audit_source import DatabaseLog, audit_source
from payment_token.settings import ConfigurationError


@dataclass(frozen=True, slots=True)
class _Answer:
    """``said`` is for people; ``proof`` is there if the record is in the log."""

    verdict: Verdict
    said: str
    entry: bytes | None = None
    proof: TlogProof | None = None


def prove(
    receipt: str | None = typer.Argument(None, help="As a worker kept it: ar2.…"),
    archive: Path | None = typer.Option(
        None, "--archive", metavar="DIR", help="An archive instead of the database."
    ),
    key: list[str] = typer.Option([], "--key", metavar="VKEY|FILE", help=KEY_HELP),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Write a proof that anybody can check without the log."
    ),
    check: Path | None = typer.Option(
        None,
        "--check",
        metavar="FILE",
        help="Check such a proof, with --key; and a receipt, if given.",
    ),
) -> None:
    """Say whether a receipt's record is in the log, and prove it. Exit 0 it is, 1 it was hidden, 3 not sealed yet."""
    with not_checked():
        wanted = None if receipt is None else Receipt.parse(receipt)
        if check is not None:
            answer = _checked(check, key, wanted)
        elif wanted is None:
            raise ConfigurationError("A receipt is needed, or --check.")
        else:
            with _opened_log(archive, key, str(wanted)) as (log, keys):
                answer = _answer(log, keys, wanted)
    if answer.verdict is Verdict.VERIFIED:
        console.print(answer.said, markup=False)
    else:
        report_error(answer.said)
    if answer.entry is not None:
        _show_record(answer.entry)
    if out is not None and answer.proof is not None:
        with not_checked():
            out.write_text(str(answer.proof), "utf-8")
        console.print(f"The proof is in {out}.", markup=False)
    raise typer.Exit(answer.verdict)


@contextmanager
def _opened_log(
    archive: Path | None, key: list[str], receipt: str
) -> Iterator[tuple[SealedLog, TrustedKeys]]:
    given = given_keys(key)
    if archive is not None:
        yield ArchiveFolder(archive), given or keys_of_archive(archive)
        return
    settings = load_settings()
    record_audit_read(settings, "prove", receipt=receipt)
    with audit_source(database_url(settings)) as log:
        yield log, given or keys_of_database(settings, log.signing_keys())


def _answer(log: SealedLog, keys: TrustedKeys, receipt: Receipt) -> _Answer:
    recorded_at = None
    if isinstance(log, DatabaseLog):
        entry = log.entry(receipt.writer_id, receipt.sequence)
        recorded_at = _recorded_at(entry)
        after = 0 if recorded_at is None else log.size_before(recorded_at)
        located = locate(log.seals(after), receipt)
    else:
        located = locate(log.seals(0), receipt)
        entry = None if located is None else entry_at(log, located, receipt)
    if entry is None:
        return _without_record(log, located)
    if _record_hash(entry) != receipt.record_hash:
        return _Answer(
            Verdict.TAMPERED, "The log has another record in the place of this receipt's.", entry
        )
    if located is None:
        return _Answer(
            Verdict.INCOMPLETE,
            "The record is there and not sealed yet. Ask again in a few seconds; if that stays so, see whether the sealer"
            " runs.",
            entry,
        )
    return _proven(log, keys, located, entry)


def _proven(log: SealedLog, keys: TrustedKeys, located: Located, entry: bytes) -> _Answer:
    newest = newest_seal(log)
    if newest is None or newest.note is None:
        return _Answer(Verdict.INCOMPLETE, "There is no checkpoint of the newest seal here.", entry)
    size = newest.tree_size
    try:
        hashes = TileHashes(log, size)
        proof = TlogProof.of(entry, located.index, size, hashes.at, newest.note)
        proof.check(keys)
    except (ProofError, NoteError) as error:
        return _Answer(
            Verdict.TAMPERED,
            f"The record is there, and cannot be proven to be in the log: {error}. `payment-token audit verify` says more.",
            entry,
        )
    return _Answer(
        Verdict.VERIFIED,
        f"The record is in the log: leaf {located.index:,} of {size:,}, sealed {located.seal.sealed_at:%Y-%m-%d %H:%M:%S}Z.",
        entry,
        proof,
    )


def _without_record(log: SealedLog, located: Located | None) -> _Answer:
    if located is None:
        return _Answer(
            Verdict.TAMPERED,
            "No record answers to this receipt: it was hidden before it was sealed, or the receipt is of another log.",
        )
    if log.lacking or (isinstance(log, DatabaseLog) and not log.has_month(located.seal.sealed_at)):
        return _Answer(
            Verdict.INCOMPLETE,
            f"The record was sealed as leaf {located.index:,}, and is not here: its month has left. Ask an archive:"
            " --archive.",
        )
    return _Answer(
        Verdict.TAMPERED, f"The record was sealed as leaf {located.index:,}, and was taken away."
    )


def _checked(file: Path, key: list[str], receipt: Receipt | None) -> _Answer:
    keys = given_keys(key)
    if keys is None:
        raise ConfigurationError("--check needs --key: the public key that is trusted.")
    try:
        proof = TlogProof.parse(file.read_text("utf-8"))
        size = proof.check(keys).checkpoint.size
    except (ProofError, NoteError, UnicodeDecodeError) as error:
        return _Answer(Verdict.TAMPERED, f"The proof does not hold: {error}.")
    if receipt is not None and _record_hash(proof.entry) != receipt.record_hash:
        return _Answer(Verdict.TAMPERED, "The proof is of another record than the receipt.")
    return _Answer(
        Verdict.VERIFIED,
        f"The proof holds: the record is leaf {proof.index:,} of the {size:,} that {keys.origin} has signed.",
        proof.entry,
    )


def _recorded_at(entry: bytes | None) -> datetime | None:
    try:
        return None if entry is None else times.parsed(entry[-times.LENGTH :])
    except ValueError:
        return None


def _record_hash(entry: bytes) -> str:
    return sha256(entry[: -times.LENGTH - 1]).hexdigest()


def _show_record(entry: bytes) -> None:
    try:
        members = read_record(entry[: -times.LENGTH - 1])
    except RecordError:
        return
    table = listing("", "")
    table.show_header = False
    table.add_row("recorded_at", entry[-times.LENGTH :].decode("ascii", "replace"))
    for name, value in members.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    console.print(table, markup=False)
