"""One run of a load, in the generator's process: what closed and open loop have in common."""

import asyncio
import time
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable
from itertools import count

from benchmarks.generator.connection import Connection
from benchmarks.generator.grpc_connection import GRPCConnection
from benchmarks.generator.load import Load, Target
from benchmarks.generator.outcome import Outcome, Quantiles

_DRAIN_SECONDS = 5.0
_SHOWN = 300  # bytes of an answer that was not expected

Announce = Callable[[str], None]


class Run(ABC):
    """``announce`` is told when the measured time begins and ends."""

    def __init__(self, load: Load, announce: Announce) -> None:
        self._load = load
        self._announce = announce
        self._next_request = iter(load.requests).__next__
        self._clients: list[list[Connection]] = []
        self._expected = [str(kind.status).encode() for kind in load.kinds]
        self._never = [kind.never for kind in load.kinds]
        self._latencies = [array("q") for _ in load.kinds]
        self._errors: Counter[str] = Counter()
        self._kept: list[bytes] = []
        self._keep = load.keep
        self._sending = True
        self._measuring = False
        self._outstanding = 0
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        self._closing = False

    async def measured(self) -> Outcome:
        await self._connect()
        started = asyncio.create_task(self._keep_time())
        self._start()
        await self._ended.wait()
        started.cancel()
        if self._outstanding:
            try:
                await asyncio.wait_for(self._drained.wait(), _DRAIN_SECONDS)
            except TimeoutError:
                self._errors["no answer"] += self._outstanding
        self._closing = True
        return self._outcome()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _answered(self, connection: Connection, answer: bytes) -> None: ...

    async def _connect(self) -> None:
        """Each client has one connection to each of the targets."""
        loop = asyncio.get_running_loop()
        tls = {kind.target: kind.target.tls() for kind in self._load.kinds}

        async def connected(client: int, target: Target) -> Connection:
            kind = GRPCConnection if target.grpc else Connection
            _, connection = await loop.create_connection(
                lambda: kind(client, self._answered, self._connection_lost),
                target.host,
                target.port,
                ssl=tls[target],
            )
            return connection

        for client in range(self._load.shape.clients):
            by_target = {target: await connected(client, target) for target in tls}
            self._clients.append([by_target[kind.target] for kind in self._load.kinds])

    async def _keep_time(self) -> None:
        await asyncio.sleep(self._load.warm_up_seconds)
        self._begin()
        await asyncio.sleep(self._load.seconds)
        self._end()

    def _begin(self) -> None:
        self._announce("begin")
        self._measuring = True
        self._began_cpu = time.process_time()
        self._began = time.perf_counter()

    def _end(self) -> None:
        if not self._sending:
            return
        self._sending = False
        if not self._measuring:
            self._errors["the requests were used up during the warm-up"] += 1
            self._begin()
        self._seconds = time.perf_counter() - self._began
        self._cpu = time.process_time() - self._began_cpu
        self._measuring = False
        self._announce("end")
        self._ended.set()

    def _is_good(self, kind: int, answer: bytes) -> bool:
        never = self._never[kind]
        return answer[9:12] == self._expected[kind] and not (never and never in answer)

    def _unexpected(self, kind: int, answer: bytes) -> None:
        name = self._load.kinds[kind].name
        # The first of each status is shown; its text is the service's, which never holds card data.
        status = answer[9:12].decode("latin-1")
        shown = answer.rpartition(b"\r\n\r\n")[2][:_SHOWN].decode("utf-8", "replace")
        if not any(known.startswith(f"{name}: {status}") for known in self._errors):
            self._errors[f"{name}: {status} {shown}"] += 1
            return
        known = next(known for known in self._errors if known.startswith(f"{name}: {status}"))
        self._errors[known] += 1

    def _connection_lost(self) -> None:
        if not self._closing:
            self._errors["connection closed"] += 1
            self._outstanding -= 1
            if not self._outstanding:
                self._drained.set()

    def _outcome(self) -> Outcome:
        whole = array("q")
        for latencies in self._latencies:
            whole.extend(latencies)
        names = [kind.name for kind in self._load.kinds]
        return Outcome(
            seconds=self._seconds,
            answers={name: len(self._latencies[at]) for at, name in zip(count(), names)},
            latency=Quantiles.of(whole),
            latency_of={
                name: Quantiles.of(self._latencies[at]) for at, name in zip(count(), names)
            },
            generator_cpu_seconds=self._cpu,
            errors=dict(self._errors),
            kept=tuple(self._kept),
        )
