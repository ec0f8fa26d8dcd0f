"""Small programs in the place of serving processes: what becomes of those that die, hang, or are told to reload."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from payment_token.infrastructure import child_processes
from payment_token.infrastructure.child_processes import (
    ChildProcesses,
    ChildrenFailedError,
    FirstChildFailedError,
)

BEGIN = """
import os, signal, socket, sys, time
number, link = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
link.recv(1)
"""
SERVE = "link.sendall(b'here I am\\n')\n"
SERVE_FOR_EVER = SERVE + "signal.pause()\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_processes, "_PAUSES", (0.0,))
    monkeypatch.setattr(child_processes, "LASTING_SECONDS", 0.3)
    monkeypatch.setattr(child_processes, "END_SECONDS", 5.0)


class Run:
    """Of a program, in two processes. ``buried`` are the numbers of those that died."""

    def __init__(self, program: str) -> None:
        self.buried: list[int] = []
        self.words: list[bytes] = []
        self.ended = asyncio.Event()
        self.children = ChildProcesses(
            lambda number, link: [sys.executable, "-c", BEGIN + program, str(number), str(link)],
            2,
            environment=dict(os.environ),
            buried=self.buried.append,
        )

    async def __call__(self) -> None:
        async with asyncio.timeout(30):
            await self.children.run(self.ended, self.words.append)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Runs until that holds, and then to its end."""
        running = asyncio.create_task(self())
        async with asyncio.timeout(20):
            while not holds():
                assert not running.done()
                await asyncio.sleep(0.02)
        self.ended.set()
        await running


async def test_what_the_first_dies_of_is_not_tried_again() -> None:
    run = Run("sys.exit(3)")

    with pytest.raises(FirstChildFailedError) as failed:
        await run()

    assert failed.value.code == 3
    assert run.buried == run.words == []


async def test_those_that_die_as_soon_as_they_serve_are_given_up() -> None:
    run = Run(SERVE)

    with pytest.raises(ChildrenFailedError, match="each 5 times in a row"):
        await run()

    assert run.words == [b"here I am\n"]
    assert min(run.buried.count(1), run.buried.count(2)) == child_processes.TRIES


async def test_while_one_lasts_the_other_is_tried_on() -> None:
    run = Run("if number == 2: sys.exit(1)\n" + SERVE_FOR_EVER)

    await run.until(lambda: len(run.buried) > 3 * child_processes.TRIES)

    assert set(run.buried) == {2}
    assert run.words == [b"here I am\n"]


async def test_one_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_processes, "END_SECONDS", 0.5)
    run = Run("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE_FOR_EVER)

    with caplog.at_level(logging.ERROR):
        await run.until(lambda: bool(run.words))

    assert "did not end in time" in caplog.text


async def test_one_told_to_end_while_it_starts_ends() -> None:
    run = Run("signal.pause()")
    run.ended.set()

    await run()

    assert run.words == []


async def test_a_reload_reaches_one_that_is_still_starting(tmp_path: Path) -> None:
    starting, done = tmp_path / "starting", tmp_path / "reloaded"
    # Until it has its handler, a process dies of SIGHUP.
    run = Run(f"""
if number == 2:
    open({str(starting)!r}, "w").close()
    time.sleep(0.3)
    signal.signal(signal.SIGHUP, lambda *_: open({str(done)!r}, "w").close())
else:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
""" + SERVE + "while True: signal.pause()\n")

    running = asyncio.create_task(run.until(done.exists))
    await asyncio.to_thread(wait_for, starting)
    run.children.reload()
    await running

    assert run.buried == []


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)
