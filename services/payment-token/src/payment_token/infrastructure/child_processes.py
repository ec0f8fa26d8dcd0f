"""Several processes that do the same work, kept running: whichever dies is replaced, and all end together.

* The first begins alone. What stops it would stop every one, and is said once. (The others load what they need.)
* One that dies is replaced at once; one that dies again and again, after a pause that grows.
* When none has lasted for several tries, all is given up. While one still serves, the others are tried on.
* Each is joined to this process by a socket (:mod:`parent_process`), and is a new interpreter: what a fork would copy,
  connections, keys and half an event loop, is nobody's to share.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from payment_token.domain.operator_error import OperatorError

logger = logging.getLogger(__name__)

END_SECONDS = 18.0
LASTING_SECONDS = 10.0
TRIES = 5
_BEGIN = b"\n"
_PAUSES = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

Command = Callable[[int, int], Sequence[str]]
"""What to run, for the number of a process, from 1, and the descriptor of its end of the socket."""


class ChildrenFailedError(OperatorError):
    """The processes do not stay alive."""


class FirstChildFailedError(ChildrenFailedError):
    """The first did not come to serve. If ``code`` is positive, it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The first process ended before it served (exit status {code}).")
        self.code = code


@dataclass(slots=True)
class _Place:
    """Of one process after another. ``failures`` counts those in a row that did not last."""

    number: int
    process: asyncio.subprocess.Process | None = None
    serves_since: float | None = None
    reload_due: bool = False
    failures: int = 0

    @property
    def lasts(self) -> bool:
        since = self.serves_since
        return since is not None and time.monotonic() - since >= LASTING_SECONDS

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class ChildProcesses:
    """``buried`` is called with the number of each that has died, before its place is taken again."""

    def __init__(
        self,
        command: Command,
        count: int,
        *,
        environment: dict[str, str],
        buried: Callable[[int], None],
    ) -> None:
        self._command = command
        self._environment = environment
        self._buried = buried
        self._places = [_Place(number) for number in range(1, count + 1)]
        self._tried: set[int] = set()
        self._first_word = b""
        self._first_serves = asyncio.Event()
        self._ending = asyncio.Event()

    async def run(self, ended: asyncio.Event, started: Callable[[bytes], None]) -> None:
        """Until ``ended``, and then until the last of them has ended, which takes 20 seconds at most.

        ``started`` is called once, when every one serves, or had its try, with what the first said. Raises
        ChildrenFailedError.
        """
        places = [asyncio.create_task(self._keep(place, started)) for place in self._places]
        asked = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({asked, *places}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await self._end(places)
        failures = [place.exception() for place in places]
        for failure in failures:
            if failure is not None:
                raise failure

    def reload(self) -> None:
        """SIGHUP for each. One that is still starting would die of it, and gets it as soon as it serves."""
        for place in self._places:
            place.reload_due = place.serves_since is None
            if not place.reload_due:
                place.signal(signal.SIGHUP)

    async def _keep(self, place: _Place, started: Callable[[bytes], None]) -> None:
        while not self._ending.is_set():
            code = await self._live(place, started)
            if not self._ending.is_set():
                self._judge(place, code, started)
                with contextlib.suppress(TimeoutError):
                    pause = _PAUSES[min(place.failures, len(_PAUSES) - 1)]
                    await asyncio.wait_for(self._ending.wait(), pause)

    async def _live(self, place: _Place, started: Callable[[bytes], None]) -> int:
        """One process from its start to its end, and its exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            place.process = await asyncio.create_subprocess_exec(
                *self._command(place.number, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
            )
        if self._ending.is_set():
            place.signal(signal.SIGTERM)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            if place is not self._places[0]:
                await self._first_serves.wait()
            writer.write(_BEGIN)
            word = await _first_line(reader)
            if word:
                self._serves(place, word, started)
            return await place.process.wait()
        finally:
            writer.close()
            place.process = None

    def _serves(self, place: _Place, word: bytes, started: Callable[[bytes], None]) -> None:
        place.serves_since = time.monotonic()
        if place.reload_due:
            place.reload_due = False
            place.signal(signal.SIGHUP)
        if not self._first_serves.is_set():
            self._first_word = word
            self._first_serves.set()
        self._had_its_try(place, started)

    def _had_its_try(self, place: _Place, started: Callable[[bytes], None]) -> None:
        before = len(self._tried)
        self._tried.add(place.number)
        if before < len(self._tried) == len(self._places):
            started(self._first_word)

    def _judge(self, place: _Place, code: int, started: Callable[[bytes], None]) -> None:
        """What follows from a death. Raises ChildrenFailedError when it is the last straw."""
        if not self._first_serves.is_set():
            raise FirstChildFailedError(code)
        place.failures = 0 if place.lasts else place.failures + 1
        place.serves_since = None
        self._buried(place.number)
        self._had_its_try(place, started)
        logger.error(
            "a serving process died, and is replaced",
            extra={
                "serving_process": place.number,
                "exit_status": code,
                "failures": place.failures,
            },
        )
        if all(other.failures >= TRIES and not other.lasts for other in self._places):
            raise ChildrenFailedError(
                f"The serving processes die as soon as they serve, each {TRIES} times in a row."
                " What they wrote before says why."
            )

    async def _end(self, places: list[asyncio.Task[None]]) -> None:
        self._ending.set()
        self._first_serves.set()
        for place in self._places:
            place.signal(signal.SIGTERM)
        _, late = await asyncio.wait(places, timeout=END_SECONDS)
        if late:
            logger.error("serving processes did not end in time", extra={"number": len(late)})
            for place in self._places:
                place.signal(signal.SIGKILL)
            await asyncio.wait(late)


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    """Empty when the process died before it said anything."""
    try:
        return await reader.readline()
    except ConnectionError:
        # It died with something unread, and the kernel says so.
        return b""
