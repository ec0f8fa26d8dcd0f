"""Which keys an audit command trusts: those that are given, else those that the log itself names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from payment_token.audit_verifier.archive_folder import KEYS
from payment_token.audit_verifier.checkpoint import TrustedKeys
from payment_token.audit_verifier.signed_note import ED25519, NoteError, VerifierKey
from payment_token.settings import ConfigurationError, Settings

KEY_HELP = "A public key to trust, as NAME+ID+BASE64, or a file with such lines; repeatable."
BRING_YOUR_OWN = (
    "The keys are the ones that {source} itself names. An auditor brings keys of their own: --key"
)


def given_keys(keys: Sequence[str]) -> TrustedKeys | None:
    """``None`` if none are given. Raises ConfigurationError."""
    return _trusted([line for key in keys for line in _lines(key)]) if keys else None


def keys_of_database(settings: Settings, public_keys: Mapping[str, bytes]) -> TrustedKeys:
    if not public_keys:
        raise ConfigurationError("The database has no audit signing key: nothing was sealed yet.")
    return TrustedKeys(
        VerifierKey(settings.log_origin, ED25519, key) for key in public_keys.values()
    )


def keys_of_archive(folder: Path) -> TrustedKeys:
    if not (folder / KEYS).is_file():
        raise ConfigurationError(f"{folder} has no file of keys: give them with --key.")
    return _trusted(_lines(str(folder / KEYS)))


def _lines(key: str) -> list[str]:
    path = Path(key)
    if not path.is_file():
        return [key]
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"--key: {key} cannot be read.") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _trusted(keys: Sequence[str]) -> TrustedKeys:
    try:
        return TrustedKeys(map(VerifierKey.parse, keys))
    except NoteError as error:
        reason = str(error)
    raise ConfigurationError(f"--key: {reason}.")
