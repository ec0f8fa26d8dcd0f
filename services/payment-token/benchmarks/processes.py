"""What processes used, as Linux counts it in ``/proc``."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_KIBIBYTE = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes. ``proportional`` shares out what several map, such as the buffers of PostgreSQL."""

    pid: int
    resident: int
    peak: int
    proportional: int | None

    @classmethod
    def of(cls, pid: int) -> Self | None:
        try:
            status = _fields(Path(f"/proc/{pid}/status"))
            return cls(pid, status["VmRSS"], status["VmHWM"], _proportional(pid))
        except (OSError, KeyError):
            return None  # it has ended


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and what descends from it."""

    root: int

    def pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, stat in _all_stats():
            children.setdefault(int(stat[1]), []).append(pid)
        found, wanted = [], [self.root]
        while wanted:
            found.append(pid := wanted.pop())
            wanted += children.get(pid, [])
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far, and that of descendants which have ended and were waited for."""
        ticks = 0
        for pid in self.pids():
            if stat := _stat(pid):
                ticks += sum(int(value) for value in stat[11:15])
        return ticks / _TICKS

    def memory(self) -> list[Memory]:
        return [memory for pid in self.pids() if (memory := Memory.of(pid)) is not None]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a tree, over the measured time; memory as it was at its end."""

    cpu_seconds: float
    seconds: float
    memory: tuple[Memory, ...]

    @property
    def cores(self) -> float:
        return self.cpu_seconds / self.seconds if self.seconds else 0.0


class Meter:
    """Reads trees at the beginning and at the end of the measured time."""

    def __init__(self, trees: dict[str, Tree]) -> None:
        self._trees = trees
        self._cpu: dict[str, float] = {}
        self._began = 0.0
        self.usage: dict[str, Usage] = {}

    def __call__(self, moment: str) -> None:
        cpu = {name: tree.cpu_seconds() for name, tree in self._trees.items()}
        now = time.perf_counter()
        if moment == "begin":
            self._cpu, self._began = cpu, now
            return
        self.usage = {
            name: Usage(cpu[name] - self._cpu[name], now - self._began, tuple(tree.memory()))
            for name, tree in self._trees.items()
        }


def _all_stats() -> list[tuple[int, list[str]]]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [(pid, stat) for pid in pids if (stat := _stat(pid))]


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold blanks and brackets: [0] is the state, [1] the parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _fields(path: Path) -> dict[str, int]:
    """The lines "Name:   number kB", in bytes."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {
        words[0].rstrip(":"): int(words[1]) * _KIBIBYTE
        for words in lines
        if len(words) == 3 and words[2] == "kB"  # noqa: PLR2004
    }


def _proportional(pid: int) -> int | None:
    try:
        return _fields(Path(f"/proc/{pid}/smaps_rollup")).get("Pss")
    except OSError:
        return None  # another user's process, and we are not root
