"""Recovery after a restore, put together: the restored database as its owner, the archive, and what was kept outside."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from payment_token.bootstrap.archive_verifier import IndependentVerifier
from payment_token.bootstrap.audit import this_operator
from payment_token.domain.audit_archive.layout import KEYS
from payment_token.domain.audit_archive.position import archived_position
from payment_token.domain.recovery.comparison import RecoveryError
from payment_token.domain.recovery.outside import outside_checkpoints
from payment_token.domain.recovery.recover import Recover, Recovery
from payment_token.domain.transparency.signed_note import NoteError, VerifierKey
from payment_token.infrastructure.audit_archive.folder import ArchiveFolder
from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.database.restored import PostgresRestored
from payment_token.infrastructure.database.sealed_log import PostgresSealedLog, connected
from payment_token.settings import ConfigurationError, Settings

# Each checkpoint covers all that the ones before it cover, and the file has grown by one a second for years.
_MOST_OUTSIDE = 1_000
_TAIL_BYTES = 1024 * 1024


async def recover(
    settings: Settings, folder: Path, checkpoints: Path | None, keys: Path | None, *, keep: bool
) -> Recovery:
    """Without ``keep`` it is tried, and taken back."""
    archive = ArchiveFolder(folder)
    url = deployment_url(settings, for_migration=True)
    origin = archived_position(archive).origin
    if not origin:
        raise RecoveryError(f"there is no archive in {folder}")
    public_keys = await _public_keys(url, keys)
    document = _tail(checkpoints, origin) if checkpoints is not None else ""
    outside = outside_checkpoints(document, origin, public_keys, most=_MOST_OUTSIDE)
    use_case = Recover(
        restored=PostgresRestored(url, this_operator(), settings.environment.value),
        archive=archive,
        verify=IndependentVerifier(public_keys),
    )
    with archive.alone():
        return await use_case(outside, keep=keep)


async def _public_keys(url: str, keys: Path | None) -> Sequence[bytes]:
    """Those of a file of vkeys, else those that the restored database knows.

    Those of the archive's own file are not taken: whoever forged an archive would have put theirs there.
    """
    if keys is not None:
        return _parsed(_read(keys).splitlines())
    async with connected(url) as connection:
        return await PostgresSealedLog(connection).public_keys()


def _parsed(vkeys: Iterable[str]) -> Sequence[bytes]:
    try:
        return [VerifierKey.parse(vkey).public_key for vkey in vkeys if vkey.strip()]
    except NoteError as error:
        reason = str(error)
    raise ConfigurationError(f"--keys: {reason}. The file {KEYS} of an archive shows the form.")


def _tail(path: Path, origin: str) -> str:
    """The last checkpoints of a file, from the beginning of one on."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        raise ConfigurationError(f"{path} cannot be read.") from None
    return text if text.startswith(origin) else text[text.find(f"\n\n{origin}\n") + 2 :]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} cannot be read.") from None
