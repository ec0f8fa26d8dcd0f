"""Whether files are other ones than before, without reading them."""

from collections.abc import Sequence
from pathlib import Path

Stamps = tuple[tuple[int, int, int] | None, ...]
"""Inode, size in bytes and time of change in nanoseconds of each file; ``None`` for one that is not there."""


def stamps_of(paths: Sequence[Path]) -> Stamps:
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
