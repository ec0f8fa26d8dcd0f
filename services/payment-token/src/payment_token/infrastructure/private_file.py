"""Files that hold secrets: readable by their owner alone from the moment that they exist, and never half-written."""

import os
import secrets
import stat
from pathlib import Path


def write_private_file(path: Path, text: str, *, replace: bool = False) -> None:
    """Writes a file of mode 0600. Raises FileExistsError unless ``replace``."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def readable_by_others(path: Path) -> bool:
    """Whether its group or everybody may do anything with it. Raises OSError."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
