"""Every client sends its next request as soon as the one before is answered."""

import time

from benchmarks.generator.connection import Connection
from benchmarks.generator.run import Run


class ClosedRun(Run):
    def _start(self) -> None:
        for client in range(len(self._clients)):
            self._outstanding += 1
            self._send_next(client)

    def _answered(self, connection: Connection, answer: bytes) -> None:
        now = time.perf_counter_ns()
        kind = connection.kind
        if not self._is_good(kind, answer):
            self._unexpected(kind, answer)
        elif self._measuring:
            self._latencies[kind].append(now - connection.began)
            if len(self._kept) < self._keep:
                self._kept.append(answer)
        self._send_next(connection.client)

    def _send_next(self, client: int) -> None:
        if self._sending:
            try:
                kind, request = self._next_request()
            except StopIteration:
                self._end()
            else:
                self._clients[client][kind].send(kind, request, time.perf_counter_ns())
                return
        self._outstanding -= 1
        if not self._outstanding:
            self._drained.set()
