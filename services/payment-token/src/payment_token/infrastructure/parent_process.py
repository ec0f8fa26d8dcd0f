"""What a process that serves with others owes the one that started it: a word once it serves, and its own end.

A socket joins the two. The kernel closes it with whichever of them dies, however that comes about, from before the
first instruction of either. So a parent that was killed leaves nothing behind, on any system, and the requests in
progress are still answered; Linux alone knows a signal for it, which comes too late for a parent that died first.
"""

import logging
import os
import signal
import socket
import threading
import time

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0


class ParentProcess:
    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is this process's end of the socket."""
        self._link = socket.socket(fileno=descriptor)
        self._link.set_inheritable(False)
        self.gone = False

    def wait_for_turn(self) -> None:
        """Until the parent wants this process to begin."""
        if not self._link.recv(1):
            raise SystemExit(1)

    def end_with_it(self) -> None:
        """From now on this process ends as by SIGTERM once the parent has gone; by force if it takes too long."""
        threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def tell(self, message: bytes) -> None:
        """One line: this process serves."""
        try:
            self._link.sendall(message + b"\n")
        except OSError:
            return  # It has gone, and the watch sees to the rest.

    def _watch(self) -> None:
        # A thread, because the event loop is not there yet, or may hang.
        try:
            while self._link.recv(1):
                continue
        except OSError:
            pass
        self.gone = True
        logger.error("the parent process is gone; this one ends too")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(DRAIN_SECONDS)
        os._exit(1)
