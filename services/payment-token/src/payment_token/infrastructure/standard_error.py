"""What libraries write to standard error by themselves, past Python, message by message.

A library in C writes to the file descriptor. For a while that is one end of a pair of sockets, whose other end a thread reads.
It keeps apart what was written apart: a message may hold line ends that a stranger chose, and what follows them must not pass
for another message. What Python writes, the log among it, keeps going where it went, without a detour.

The report of a crash goes past it too. What a library says in the moment in which it ends the process is lost, and so is what it says
faster than it is read: whoever writes may hold the lock of the interpreter, which the reader waits for.
"""

import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STANDARD_ERROR = 2
_LONGEST = 1 << 17
_END_SECONDS = 1.0


@contextmanager
def messages_of_libraries(take: Callable[[bytes], bool]) -> Iterator[None]:
    """``take`` is called in a thread with each message; one that it does not take goes on to standard error."""
    python = sys.stderr
    python.flush()
    # Never closed: a thread may just be writing to it when this ends.
    direct = os.dup(_STANDARD_ERROR)
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writing.setblocking(False)
    os.dup2(writing.fileno(), _STANDARD_ERROR)
    sys.stderr = os.fdopen(
        direct, "w", 1, python.encoding, errors="backslashreplace", closefd=False
    )
    reports_crashes = faulthandler.is_enabled()
    faulthandler.enable(direct)
    last_message = os.urandom(16)
    reader = threading.Thread(
        target=_read, args=(reading, direct, take, last_message), name="standard error", daemon=True
    )
    reader.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = python
        os.dup2(direct, _STANDARD_ERROR)
        faulthandler.disable()
        if reports_crashes:
            faulthandler.enable(_STANDARD_ERROR)
        with writing, suppress(OSError):
            writing.settimeout(_END_SECONDS)
            writing.send(last_message)
            reader.join(_END_SECONDS)


def _read(
    reading: socket.socket, direct: int, take: Callable[[bytes], bool], last_message: bytes
) -> None:
    with reading:
        while (message := reading.recv(_LONGEST)) != last_message:
            # Whatever becomes of one message, the next one is read.
            with suppress(Exception):
                if not take(message):
                    os.write(direct, message)
