"""On what it ran: a figure without its machine says nothing."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("payment-token", "cryptography", "fastapi", "psycopg", "pydantic", "uvicorn", "uvloop")


def machine() -> dict[str, object]:
    return {
        "processor": _named(Path("/proc/cpuinfo"), "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _named(Path("/proc/meminfo"), "MemTotal"),
        "system": platform.platform(),
        "load_before": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def commit() -> str | None:
    """The commit of the clone, with a plus when files differ from it. ``None`` outside a clone."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _named(path: Path, name: str) -> str | None:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
