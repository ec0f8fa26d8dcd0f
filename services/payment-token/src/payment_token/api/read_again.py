"""What is made of files, made anew once one of them is another one than before. Files that are wrong change nothing."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Made = TypeVar("Made")

LOOK_SECONDS = 1.0

Stamp = tuple[int, int, int] | None


class ReadAgain(Generic[Made]):
    """``what`` names it in the log. Raises what ``make`` raises at the start, and only then."""

    def __init__(self, what: str, files: Sequence[Path], make: Callable[[], Made]) -> None:
        self._what = what
        self._files = files
        self._make = make
        # Before the files are read: a change meanwhile is then seen next time.
        self._stamps = self._look()
        self._made = make()
        self._looked_at = time.monotonic()

    def recent(self) -> Made:
        """For whoever asks with each request: looks at the files once a second at most."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            return self.current()
        return self._made

    def current(self) -> Made:
        """Looks at the files, without reading them, each time."""
        stamps = self._look()
        if stamps != self._stamps:
            # Also where they are wrong: one line in the log for each change, not for each time that somebody asks.
            self._stamps = stamps
            self._read()
        return self._made

    def _read(self) -> None:
        try:
            self._made = self._make()
        except (OSError, ValueError) as error:
            logger.error(
                "%s not read again, what was read before stays",
                self._what,
                extra={"reason": getattr(error, "strerror", None) or type(error).__name__},
            )
        else:
            logger.info("%s read again", self._what)

    def _look(self) -> list[Stamp]:
        return [stamp_of(path) for path in self._files]


def stamp_of(path: Path) -> Stamp:
    """Inode, size in bytes and time of change in nanoseconds; ``None`` for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
