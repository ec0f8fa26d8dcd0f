"""Checkpoints in a file that is only ever appended to. The contract is :class:`payment_token.domain.log_sealing.ports.CheckpointPlace`.

Each note is followed by an empty line. The file is best on another machine, or append-only for everybody (``chattr +a``).
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payment_token.domain.log_sealing.ports import PlaceUnavailableError
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import MOST_BYTES, NoteError, split_notes

logger = logging.getLogger(__name__)

_END = b"\n\n"


class CheckpointFile:
    """Made when the first checkpoint comes, readable by its owner alone. Several processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return f"AUDIT_CHECKPOINT_FILE {self.path}"

    async def beyond(self, size: int) -> str | None:
        note = await asyncio.to_thread(self._last)
        try:
            return note if note is None or Checkpoint.read(note).size >= size else None
        except NoteError:
            return note

    async def publish(self, note: str) -> None:
        await asyncio.to_thread(self._append, note)

    def set_aside(self) -> Path:
        """Gives the file another name, so that another log can begin one. Raises OSError."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        return self.path.rename(aside)

    def _last(self) -> str | None:
        with self._opened(os.O_RDONLY, missing_is_fine=True) as descriptor:
            if descriptor is None:
                return None
            notes = split_notes(_tail(descriptor).decode(errors="replace"))
        return notes[-1] if notes else None

    def _append(self, note: str) -> None:
        is_new = not self.path.exists()
        with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
            if descriptor is None:
                raise PlaceUnavailableError
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _drop_torn_note(descriptor)
            data = note.encode() + b"\n"
            if _tail(descriptor).endswith(data):
                return
            if os.write(descriptor, data) != len(data):
                # The disk is full. What came of it is torn, and goes before the next one comes.
                raise PlaceUnavailableError
            os.fsync(descriptor)
        if is_new:
            _sync_folder(self.path.parent)

    @contextmanager
    def _opened(self, flags: int, *, missing_is_fine: bool = False) -> Iterator[int | None]:
        fault = ""
        try:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            if missing_is_fine:
                yield None
                return
            fault = str(error.strerror)
        except OSError as error:
            fault = str(error.strerror)
        if fault:
            logger.warning("the checkpoint file cannot be used", extra={"reason": fault})
            raise PlaceUnavailableError


def _tail(descriptor: int) -> bytes:
    """The end of the file, with two notes of the longest kind. Notes that begin before it are not whole."""
    length = os.fstat(descriptor).st_size
    start = max(0, length - 2 * MOST_BYTES)
    return os.pread(descriptor, length - start, start)


def _drop_torn_note(descriptor: int) -> None:
    """Whoever wrote it was interrupted, and has told nobody that it is published."""
    length = os.fstat(descriptor).st_size
    tail = _tail(descriptor)
    if not tail or tail.endswith(_END):
        return
    notes = split_notes(tail.decode(errors="replace"))
    whole = tail.rfind(notes[-1].encode()) + len(notes[-1].encode()) + 1 if notes else 0
    try:
        os.ftruncate(descriptor, length - len(tail) + whole)
    except PermissionError:
        # Append-only for us as well. Readers leave out what is no note.
        os.write(descriptor, _END)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
