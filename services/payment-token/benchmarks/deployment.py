"""A deployment that a benchmark has to itself: its own embedded PostgreSQL, keys, certificates, and ``serve`` process."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAYMENT_TOKEN = (sys.executable, "-m", "payment_token")
_ROLES = ("--only", "public", "--only", "internal")
_FREE_PORTS = {
    "PUBLIC_ADDRESS": "127.0.0.1:0",
    "INTERNAL_ADDRESS": "127.0.0.1:0",
    "PUBLIC_GRPC_ADDRESS": "127.0.0.1:0",
    "INTERNAL_GRPC_ADDRESS": "127.0.0.1:0",
    "METRICS_ADDRESS": "127.0.0.1:0",
}


def make_deployment(folder: Path) -> Path:
    """Returns the path of its ``.env``."""
    subprocess.run(
        [*PAYMENT_TOKEN, "dev", "init", "--dir", folder], check=True, capture_output=True
    )
    return folder / ".env"


def run(env_file: Path, *arguments: str) -> str:
    """Runs a command of the deployment to its end and returns what it printed."""
    return subprocess.run(
        [*PAYMENT_TOKEN, *arguments, "--env-file", env_file],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout


@dataclass(frozen=True, slots=True)
class Serving:
    """A running ``serve``: where it listens, and its process, whose children its workers are."""

    urls: dict[str, str]
    pid: int


@contextlib.contextmanager
def serving(
    env_file: Path, workers: int = 1, program: tuple[str, ...] = ("-m", "payment_token")
) -> Iterator[Serving]:
    """``serve`` with so many workers, in processes of its own: what answers requests, and no maintenance beside it.

    ``program`` is what Python runs: the service as it is, or one that a benchmark has changed, with one worker.
    """
    several = ["--workers", str(workers)] if workers > 1 else []
    process = subprocess.Popen(
        [sys.executable, *program, "serve", *_ROLES, *several, "--env-file", env_file],
        env={**os.environ, **_FREE_PORTS},
        stdout=subprocess.DEVNULL,
        stderr=(log := (env_file.parent / f"serve-{program[1]}.log").open("w+")),
    )
    try:
        yield Serving(_urls(process, Path(log.name)), process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _urls(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    while process.poll() is None:
        found = {
            entry["listener"]: entry["url"]
            for entry in map(_entry, log.read_text().splitlines())
            if entry.get("message") == "listening"
        }
        if "metrics" in found:
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
    raise SystemExit("the service did not start: " + log.read_text())


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
