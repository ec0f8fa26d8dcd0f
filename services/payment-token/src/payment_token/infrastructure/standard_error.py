"""What libraries write to standard error by themselves, past Python, line by line.

A library in C writes to the file descriptor. For a while that is a pipe, which a thread reads; what Python writes, the log
among it, keeps going where it went, without a detour. What a process says with its last breath would be lost in the pipe, so
Python's own words on a crash go past it as well.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STANDARD_ERROR = 2
_END_SECONDS = 1.0


@contextmanager
def lines_of_libraries(take: Callable[[bytes], bool]) -> Iterator[None]:
    """``take`` is called in a thread with each line, its end included; one that it does not take goes on to standard error."""
    python = sys.stderr
    python.flush()
    direct = os.dup(_STANDARD_ERROR)
    reading, writing = os.pipe()
    os.dup2(writing, _STANDARD_ERROR)
    os.close(writing)
    sys.stderr = os.fdopen(
        direct, "w", 1, python.encoding, errors="backslashreplace", closefd=False
    )
    on_a_crash = not faulthandler.is_enabled()
    if on_a_crash:
        faulthandler.enable(direct)
    reader = threading.Thread(
        target=_read, args=(reading, direct, take), name="standard error", daemon=True
    )
    reader.start()
    try:
        yield
    finally:
        if on_a_crash:
            faulthandler.disable()
        sys.stderr.flush()
        sys.stderr = python
        # That was the last writer, unless a child has it: then the thread ends with the process.
        os.dup2(direct, _STANDARD_ERROR)
        reader.join(_END_SECONDS)
        if not reader.is_alive():
            os.close(direct)


def _read(reading: int, direct: int, take: Callable[[bytes], bool]) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            # Were it to end here, whoever writes would wait for ever once the pipe is full.
            with suppress(Exception):
                if not take(line):
                    os.write(direct, line)
