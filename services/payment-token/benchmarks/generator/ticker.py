"""A timer that keeps its rhythm to some tens of microseconds.

The event loop's own timers count in milliseconds, which would add half of one to every latency. Linux only.
"""

import ctypes
import os

_CLOCK_MONOTONIC = 1  # what time.perf_counter_ns reads as well
_ABSOLUTE = 1
_NONBLOCK = os.O_NONBLOCK
_SECOND = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Schedule(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("first", _TimeSpec))


def open_ticker(first: int, interval: int) -> int:
    """A file descriptor that becomes readable at ``first`` and then every ``interval``, in nanoseconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    ticker = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK)
    schedule = _Schedule(
        _TimeSpec(*divmod(interval, _SECOND)),
        _TimeSpec(*divmod(first, _SECOND)),
    )
    if ticker < 0 or libc.timerfd_settime(ticker, _ABSOLUTE, ctypes.byref(schedule), None) < 0:
        raise OSError(ctypes.get_errno(), "timerfd")
    return int(ticker)
