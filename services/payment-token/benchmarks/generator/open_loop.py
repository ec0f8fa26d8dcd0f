"""Requests fall due at a fixed rate; what finds no free connection waits, and its wait counts."""

import asyncio
import os
import time
from array import array
from collections import deque
from dataclasses import replace

from benchmarks.generator.connection import Connection
from benchmarks.generator.load import Load, OpenLoop
from benchmarks.generator.outcome import Outcome, Quantiles
from benchmarks.generator.run import Announce, Run
from benchmarks.generator.ticker import open_ticker

_LEAD = 20_000_000  # nanoseconds until the first request is due
_SHORTEST_TICK = 100_000  # faster rates send several at a tick


class OpenRun(Run):
    def __init__(self, load: Load, shape: OpenLoop, announce: Announce) -> None:
        super().__init__(load, announce)
        self._interval = 1e9 / shape.rate
        self._number = 0
        self._first = 0
        self._measured_from = 0.0
        self._idle: list[int] = []
        self._waiting: deque[int] = deque()
        self._lateness = array("q")
        self._timed = load.timed
        self._moments: list[tuple[int, int]] = []

    async def measured(self) -> Outcome:
        outcome = await super().measured()
        return replace(
            outcome,
            lateness=Quantiles.of(self._lateness),
            moments=tuple(self._moments),
            unanswered=self._outstanding + len(self._waiting),
        )

    def _start(self) -> None:
        self._idle = list(range(len(self._clients)))
        self._first = time.perf_counter_ns() + _LEAD
        self._measured_from = self._first + self._load.warm_up_seconds * 1e9
        self._ticker = open_ticker(self._first, max(_SHORTEST_TICK, round(self._interval)))
        asyncio.get_running_loop().add_reader(self._ticker, self._tick)

    def _tick(self) -> None:
        try:
            os.read(self._ticker, 8)
        except BlockingIOError:
            return
        now = time.perf_counter_ns()
        while self._sending:
            due = self._first + int(self._number * self._interval)
            if due > now:
                return
            self._number += 1
            if self._idle:
                self._lateness.append(now - due)
                self._outstanding += 1
                self._send(self._idle.pop(), due)
            else:
                self._waiting.append(due)

    def _answered(self, connection: Connection, answer: bytes) -> None:
        kind = connection.kind
        if not self._is_good(kind, answer):
            self._unexpected(kind, answer)
        # What was due within the measured time counts, also when its answer comes after the end.
        elif connection.began >= self._measured_from:
            latency = time.perf_counter_ns() - connection.began
            self._latencies[kind].append(latency)
            if self._timed:
                self._moments.append((connection.began, latency))
            if len(self._kept) < self._keep:
                self._kept.append(answer)
        if self._waiting:
            self._send(connection.client, self._waiting.popleft())
            return
        self._idle.append(connection.client)
        self._outstanding -= 1
        if not self._sending and not self._outstanding:
            self._drained.set()

    def _send(self, client: int, due: int) -> None:
        try:
            kind, request = self._next_request()
        except StopIteration:
            self._waiting.clear()
            self._idle.append(client)
            self._outstanding -= 1
            self._end()
        else:
            self._clients[client][kind].send(kind, request, due)
