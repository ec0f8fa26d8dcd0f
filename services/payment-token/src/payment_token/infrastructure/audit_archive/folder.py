"""An archive of the audit log in a folder. The contract is :class:`payment_token.domain.audit_archive.ports.Archive`.

A file gets its name once it is whole and on the disk. Nothing in it is secret: records hold no card data.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from payment_token.domain.audit_archive.layout import ArchiveError, signature_path
from payment_token.domain.audit_archive.month import Month

_LOCK = ".lock"
_UNFINISHED = ".new"
_MONTH = re.compile(r"(\d{4}-\d\d)\.sig")
_CHUNK = 1024 * 1024
_LONGEST_LINE = 64 * 1024
_HEAD = 512


class ArchiveFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        # Folders whose entries are known to be on the disk.
        self._made: set[Path] = set()

    @property
    def location(self) -> str:
        return str(self._folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._make(self._folder)
        with (self._folder / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveError(
                    f"another process writes to the archive in {self._folder} just now"
                ) from None
            yield

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror
        raise ArchiveError(f"{path} of the archive in {self._folder} cannot be read: {reason}")

    def read_beginning(self, path: str, length: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                return file.read(length)
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        target = self._folder / path
        self._make(target.parent)
        unfinished = target.with_name(target.name + _UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
            _sync(target.parent)
        except OSError as error:
            reason = error.strerror
        else:
            return
        raise ArchiveError(f"{path} cannot be written to the archive in {self._folder}: {reason}")

    def remove(self, path: str) -> None:
        target = self._folder / path
        target.unlink(missing_ok=True)
        # Folders of partial tiles, and of groups whose entries have expired.
        try:
            target.parent.rmdir()
        except OSError:
            pass
        self._made.discard(target.parent)

    def append(self, path: str, content: bytes) -> None:
        with (self._folder / path).open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync(self._folder)

    def cut(self, path: str, mark: bytes) -> None:
        target = self._folder / path
        if not target.exists():
            if mark:
                raise ArchiveError(f"the archive in {self._folder} lacks {path}")
            return
        with target.open("r+b") as file:
            file.truncate(_end_of_line_with(file.fileno(), mark, path) if mark else 0)
            os.fsync(file.fileno())

    def lines_from(
        self, path: str, begins: bytes, is_before: Callable[[bytes], bool]
    ) -> Iterator[bytes]:
        try:
            with (self._folder / path).open("rb") as file:
                file.seek(_first_not_before(file.fileno(), begins, is_before))
                yield from (line.rstrip(b"\n") for line in file)
        except FileNotFoundError:
            raise ArchiveError(f"the archive in {self._folder} lacks {path}") from None

    def months(self) -> Sequence[Month]:
        folder = (self._folder / signature_path("any")).parent
        if not folder.is_dir():
            return []
        found = (_MONTH.fullmatch(file.name) for file in folder.iterdir())
        return sorted(Month.parse(match[1]) for match in found if match is not None)

    def _make(self, folder: Path) -> None:
        if folder in self._made:
            return
        if not folder.exists():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            _sync(folder.parent)
        self._made.add(folder)


def _end_of_line_with(descriptor: int, mark: bytes, path: str) -> int:
    """Looks from the end, where it is but for what an interruption has left."""
    begin = os.fstat(descriptor).st_size
    after = b""
    while begin > 0:
        length = min(_CHUNK, begin)
        begin -= length
        window = os.pread(descriptor, length, begin) + after
        place = window.rfind(mark)
        if place >= 0:
            newline = window.find(b"\n", place + len(mark))
            if newline >= 0:
                return begin + newline + 1
        # The mark, or the line that it is in, may begin before this.
        after = window[: len(mark) + _LONGEST_LINE]
    raise ArchiveError(f"{path} of the archive does not have what it should: is it of this log?")


def _first_not_before(descriptor: int, begins: bytes, is_before: Callable[[bytes], bool]) -> int:
    """Where the first part begins that is not before what is looked for. The parts are in order, so half of them go each time."""
    low = 0
    high = found = os.fstat(descriptor).st_size
    while low < high:
        middle = (low + high) // 2
        start = _next_beginning(descriptor, begins, middle, high)
        if start is not None and is_before(os.pread(descriptor, _HEAD, start)):
            low = start + 1
        else:
            found = found if start is None else start
            high = middle
    return found


def _next_beginning(descriptor: int, begins: bytes, place: int, end: int) -> int | None:
    if place == 0 and os.pread(descriptor, len(begins), 0) == begins:
        return 0
    mark = b"\n" + begins
    place = max(0, place - 1)
    while place < end:
        window = os.pread(descriptor, _LONGEST_LINE, place)
        at = window.find(mark)
        if at >= 0:
            start = place + at + 1
            return start if start < end else None
        if len(window) < _LONGEST_LINE:
            return None
        place += len(window) - len(mark)
    return None


def _sync(folder: Path) -> None:
    """A file's name is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
