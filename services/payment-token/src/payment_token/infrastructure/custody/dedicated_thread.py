"""One thread that does what it is given, in order. A process can end although a library hangs in it."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class DedicatedThread:
    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        # A pool's threads are joined when the interpreter ends; this one must not hold it up.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Work whose future is cancelled before its turn is not done. From one thread only."""
        if not self._started:
            # Not before: a thread does not survive a fork.
            self._started = True
            self._thread.start()
        future: Future[Result] = Future()
        self._work.put((future, work))
        return future

    def end(self, patience_seconds: float) -> None:
        """After what was submitted; waits so long for it, and then leaves it."""
        self._work.put(None)
        if self._started:
            self._thread.join(patience_seconds)

    def _run(self) -> None:
        while (entry := self._work.get()) is not None:
            future, work = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            # Whatever it is, it belongs to whoever waits for the future.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
