"""What a process that serves forbids to others, asked of a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="dumpability is Linux's")

PR_GET_DUMPABLE = 3

PROGRAM = f"""
import ctypes, resource, sys
from payment_token.infrastructure.process_hardening import forbid_core_dumps
if "hard" in sys.argv:
    forbid_core_dumps()
    forbid_core_dumps()
dumpable = ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0)
print(*resource.getrlimit(resource.RLIMIT_CORE), dumpable, flush=True)
input()
"""


def started(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_core_file_and_no_attaching() -> None:
    with started("hard") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0 0 0\n"
        # Its entries in /proc are root's then, so another process of the same user reads no memory of it.
        assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0
        process.communicate("\n")
    assert process.returncode == 0


def test_without_it_a_process_can_be_dumped() -> None:
    """Else the test above would see nothing."""
    with started() as process:
        assert process.stdout is not None
        assert process.stdout.readline().split()[2] == "1"
        process.communicate("\n")


def test_the_limit_cannot_be_raised_again_by_the_process_itself() -> None:
    program = (
        "import os, resource\n"
        "from payment_token.infrastructure.process_hardening import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: resource.setrlimit(resource.RLIMIT_CORE, (1, 1))\n"
        "except ValueError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"
