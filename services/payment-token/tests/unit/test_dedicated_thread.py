import subprocess
import sys
import threading

import pytest

from payment_token.infrastructure.custody.dedicated_thread import DedicatedThread


def test_work_is_done_in_order_on_one_thread():
    thread = DedicatedThread("one")
    names: list[str] = []
    futures = [
        thread.submit(lambda n=n: names.append(threading.current_thread().name) or n)
        for n in range(20)
    ]
    assert [future.result(10) for future in futures] == list(range(20))
    assert names == ["one"] * 20
    thread.end(10)


def test_an_error_belongs_to_whoever_waits_and_the_thread_goes_on():
    thread = DedicatedThread("one")
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 // 0).result(10)
    assert thread.submit(lambda: 2).result(10) == 2
    thread.end(10)


def test_work_that_nobody_waits_for_any_more_is_not_begun():
    thread, busy = DedicatedThread("one"), threading.Event()
    done: list[str] = []
    thread.submit(lambda: busy.wait(10))
    given_up = thread.submit(lambda: done.append("given up"))
    assert given_up.cancel()
    busy.set()
    assert thread.submit(lambda: "next").result(10) == "next"
    assert done == []
    thread.end(10)


def test_one_that_was_never_used_ends_at_once():
    DedicatedThread("idle").end(10)


HANGING = """
import time
from payment_token.infrastructure.custody.dedicated_thread import DedicatedThread
thread = DedicatedThread("hanging")
thread.submit(lambda: time.sleep(3600))
thread.end(0.01)
"""


def test_a_process_ends_although_its_work_hangs():
    ended = subprocess.run([sys.executable, "-c", HANGING], timeout=60, check=False)
    assert ended.returncode == 0
