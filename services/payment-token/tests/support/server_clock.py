"""A PostgreSQL whose clock a test sets, by libfaketime: it alone, not this process and not the machine.

The library is where LIBFAKETIME says, else on the machine, else where ``scripts/faketime.sh`` unpacked it.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer

_CLONE = Path(__file__).parents[4]
_LIBRARY = f"usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketime.so.1"


class ServerClock:
    """``ahead`` is how far the server's clock is ahead of this machine's. It changes at once for every server process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(timedelta())

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def set(self, ahead: timedelta) -> None:
        self.ahead = ahead
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead.total_seconds():+.6f}\n")
        fresh.chmod(0o644)
        fresh.rename(self._file)


@contextmanager
def server_with_a_clock(folder: Path) -> Iterator[tuple[EmbeddedServer, ServerClock]]:
    clock = ServerClock(folder / "clock")
    server = EmbeddedServer(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LD_PRELOAD", str(_library()))
        environment.setenv("FAKETIME_TIMESTAMP_FILE", str(folder / "clock"))
        environment.setenv("FAKETIME_NO_CACHE", "1")
        # What waits for a time to pass, waits as long as ever.
        environment.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server.start_or_attach()
    try:
        yield server, clock
    finally:
        server.release()


def _library() -> Path:
    """Skips the test where there is none, which under CI=true is a failure."""
    given = os.environ.get("LIBFAKETIME")
    places = (
        [Path(given)]
        if given
        else [Path("/") / _LIBRARY, _CLONE / ".cache/faketime/tree" / _LIBRARY]
    )
    for place in places:
        if place.exists():
            return place
    reason = "libfaketime is not here: ./scripts/faketime.sh gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
