"""Lines that C libraries write to standard error, past Python."""

import json
import os
import signal
import subprocess
import sys

import pytest

from payment_token.infrastructure.standard_error import lines_of_libraries


def test_a_line_that_is_taken_goes_nowhere_and_another_one_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard = []

    def take(line: bytes) -> bool:
        heard.append(line)
        return line.startswith(b"taken")

    with lines_of_libraries(take):
        os.write(2, b"taken: one\nleft: two\n")
        os.write(2, b"no end of line")
    os.write(2, b"afterwards\n")

    assert heard == [b"taken: one\n", b"left: two\n", b"no end of line"]
    assert capfd.readouterr().err == "left: two\nno end of lineafterwards\n"


def test_whoever_writes_never_waits_for_a_reader_that_failed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def take(_: bytes) -> bool:
        raise RuntimeError

    with lines_of_libraries(take):
        for _ in range(400):
            os.write(2, b"x" * 1023 + b"\n")
    assert capfd.readouterr().err == ""


_PROCESS = """
import faulthandler, logging, os, sys
from payment_token.infrastructure.logging import configure_logging
from payment_token.infrastructure.standard_error import lines_of_libraries

configure_logging(debug=False)
with lines_of_libraries(lambda line: True):
    print("printed", file=sys.stderr)
    logging.getLogger("test").warning("logged")
    os.write(2, b"taken\\n")
    if "crash" in sys.argv:
        os.abort()
print("after", file=sys.stderr)
os.write(2, b"as before\\n")
"""


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROCESS, *arguments], capture_output=True, text=True, check=False
    )


def test_what_python_writes_goes_past_it() -> None:
    printed, logged, *rest = process().stderr.splitlines()

    assert printed == "printed"
    assert json.loads(logged)["message"] == "logged"
    assert rest == ["after", "as before"]


def test_a_crash_is_still_reported() -> None:
    ended = process("crash")

    assert ended.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in ended.stderr
