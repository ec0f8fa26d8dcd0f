"""What C libraries write to standard error, past Python."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from payment_token.infrastructure.standard_error import messages_of_libraries


def test_what_is_taken_goes_nowhere_and_the_rest_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard = []

    def take(message: bytes) -> bool:
        heard.append(message)
        return message.startswith(b"taken")

    with messages_of_libraries(take):
        os.write(2, b"taken: one\nand what it says\n")
        os.write(2, b"")
        os.write(2, b"left\n")
        os.write(2, b"no end of line, ")
    os.write(2, b"afterwards\n")

    assert [message for message in heard if message] == [
        b"taken: one\nand what it says\n",
        b"left\n",
        b"no end of line, ",
    ]
    assert capfd.readouterr().err == "left\nno end of line, afterwards\n"


def flood() -> None:
    for _ in range(100_000):
        os.write(2, b"x" * 1023 + b"\n")


def test_whoever_writes_never_waits() -> None:
    """What is too much is lost."""
    read, goes_on = threading.Event(), threading.Event()

    def take(_: bytes) -> bool:
        read.set()
        return goes_on.wait(timeout=30)

    with messages_of_libraries(take):
        os.write(2, b"the first\n")
        assert read.wait(timeout=30)
        with pytest.raises(BlockingIOError):
            flood()
        goes_on.set()


def test_a_message_that_cannot_be_taken_costs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    heard = []

    def take(message: bytes) -> bool:
        heard.append(message)
        raise RuntimeError

    with messages_of_libraries(take):
        os.write(2, b"one\n")
        os.write(2, b"two\n")
    assert heard == [b"one\n", b"two\n"]
    assert capfd.readouterr().err == ""


_PROCESS = """
import faulthandler, logging, os, sys
from payment_token.infrastructure.logging import configure_logging
from payment_token.infrastructure.standard_error import messages_of_libraries

configure_logging(debug=False)
with messages_of_libraries(lambda line: True):
    print("printed", file=sys.stderr)
    logging.getLogger("test").warning("logged")
    os.write(2, b"taken\\n")
    if "crash" in sys.argv:
        os.abort()
print("after", file=sys.stderr)
os.write(2, b"as before\\n")
"""


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROCESS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_what_python_writes_goes_past_it() -> None:
    printed, logged, *rest = process().stderr.splitlines()

    assert printed == "printed"
    assert json.loads(logged)["message"] == "logged"
    assert rest == ["after", "as before"]


@pytest.mark.parametrize("asked_for", ["", "1"])
def test_a_crash_is_still_reported(asked_for: str) -> None:
    ended = process("crash", PYTHONFAULTHANDLER=asked_for)

    assert ended.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in ended.stderr
