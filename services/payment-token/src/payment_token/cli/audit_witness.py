"""``payment-token audit witness``: sees the log grow, somewhere else, and signs that it only grew."""

import os
import time
from pathlib import Path

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payment_token.audit_verifier.archive_folder import ArchiveFolder
from payment_token.audit_verifier.checkpoint import Checkpoint, TrustedKeys
from payment_token.audit_verifier.locate import newest_seal
from payment_token.audit_verifier.proofs import ProofError
from payment_token.audit_verifier.report import Verdict
from payment_token.audit_verifier.sealed_log import SealedLog
from payment_token.audit_verifier.signed_note import NoteError
from payment_token.audit_verifier.tile_hashes import TileHashes
from payment_token.audit_verifier.witness import Witness, state_of
from payment_token.cli.audit_keys_given import (
    KEY_HELP,
    given_keys,
    keys_of_archive,
    keys_of_database,
)
from payment_token.cli.audit_outcome import not_checked
from payment_token.cli.audit_read import record_audit_read
from payment_token.cli.deployment import database_url, load_settings
from payment_token.cli.terminal import console, report_error
from payment_token.infrastructure.database.audit_source import audit_source
from payment_token.infrastructure.private_file import readable_by_others, write_private_file
from payment_token.settings import ConfigurationError

_EVERY_SECONDS = 5.0


def witness(
    state: Path = typer.Option(
        ..., "--state", metavar="FILE", help="What it has seen; its key is beside it, in FILE.key."
    ),
    checkpoints: Path = typer.Option(
        ..., "--checkpoints", metavar="FILE", help="Where checkpoints go that it has signed."
    ),
    archive: Path | None = typer.Option(
        None, "--archive", metavar="DIR", help="An archive instead of the database."
    ),
    key: list[str] = typer.Option([], "--key", metavar="VKEY|FILE", help=KEY_HELP),
    name: str = typer.Option(
        "payment-token/witness", "--name", help="The name under which it signs; no blanks, no plus."
    ),
    follow: bool = typer.Option(False, "--follow", help="Go on, every five seconds."),
) -> None:
    """Sign the newest checkpoint if the log only grew since the last one. Exit 1 if it did not."""
    if not name or "+" in name or any(letter.isspace() for letter in name):
        raise typer.BadParameter("no blanks and no plus", param_hint="--name")
    with not_checked():
        signer = Witness(name, _own_key(state.with_name(f"{state.name}.key")))
        console.print(f"Its public key: {signer.verifier_key}", markup=False)
        if archive is None:
            record_audit_read(load_settings(), "witness")
    while True:
        with not_checked():
            refused = _look(signer, state, checkpoints, archive, key)
        if refused is not None:
            report_error(refused)
            raise typer.Exit(Verdict.TAMPERED)
        if not follow:
            return
        time.sleep(_EVERY_SECONDS)


def _look(
    signer: Witness, state: Path, checkpoints: Path, archive: Path | None, key: list[str]
) -> str | None:
    """Why it does not sign; ``None`` if it has, or there is nothing new."""
    given = given_keys(key)
    if archive is not None:
        return _take(
            ArchiveFolder(archive), given or keys_of_archive(archive), signer, state, checkpoints
        )
    settings = load_settings()
    with audit_source(database_url(settings)) as log:
        keys = given or keys_of_database(settings, log.signing_keys())
        return _take(log, keys, signer, state, checkpoints)


def _take(
    log: SealedLog, keys: TrustedKeys, signer: Witness, state: Path, checkpoints: Path
) -> str | None:
    seen = _seen(state)
    newest = newest_seal(log)
    if newest is None or newest.note is None:
        return None if seen is None else f"The log is empty, and had {seen.size:,} leaves."
    hashes = TileHashes(log, newest.tree_size)
    try:
        cosigned = signer.take(newest.note, keys, seen, hashes.at, int(time.time()))
        checkpoint = keys.open(newest.note).checkpoint
    except (ProofError, NoteError) as error:
        return f"Not signed: {error}. `payment-token audit verify` says more."
    if cosigned is None:
        return None
    # First the signature, then that it was given: after a crash between them it is given once more.
    _append(checkpoints, cosigned + "\n")
    write_private_file(state, state_of(checkpoint), replace=True)
    console.print(
        f"Signed: {checkpoint.size:,} leaves, {'the first that it saw' if seen is None else f'after {seen.size:,}'}."
    )
    return None


def _seen(state: Path) -> Checkpoint | None:
    if not state.exists():
        return None
    try:
        return Checkpoint.parse(state.read_text("utf-8"))
    except (NoteError, UnicodeDecodeError):
        raise ConfigurationError(
            f"{state} is damaged, and says what was seen: restore it."
        ) from None


def _own_key(file: Path) -> Ed25519PrivateKey:
    """Made at the first start."""
    if not file.exists():
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private_file(file, pem.decode())
    if readable_by_others(file):
        raise ConfigurationError(f"{file} may be read by others: chmod 600.")
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{file} is no key of a witness.")
    return key


def _append(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
