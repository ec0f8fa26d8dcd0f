"""The same requests to a bare HTTP server: what the wire alone costs, and what the generator costs."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cases.case import Run, measurement
from benchmarks.generator import ClosedLoop, Kind, Load, Shape, Target, run_load
from benchmarks.measurement import ECHO, Measurement
from benchmarks.options import Options
from benchmarks.processes import Meter, Tree
from benchmarks.requests import creates
from payment_token.domain.enrolment import BDKAlgorithm

_ANSWER_BYTES = 400  # a create's
_REQUESTS = 2000


@dataclass(frozen=True, slots=True)
class EchoCase:
    name: str
    title: str
    secure: bool = False

    def shapes(self, options: Options) -> Sequence[Shape | str]:
        return [ClosedLoop(clients) for clients in options.clients]

    def measure(self, bench: Bench, shape: Shape | str) -> Measurement:
        if isinstance(shape, str):
            raise TypeError("a load has the shape of a loop")
        run = Run(shape, bench.options.seconds, bench.options.warm_up_seconds)
        with _echoing(bench.folder if self.secure else None) as (target, pid):
            bodies = bench.fleet(BDKAlgorithm.AES_128).bodies(_REQUESTS)
            requests = cycle(list(creates(target, bench.api_key, bodies)))
            kinds = (Kind("echo", target, 201),)
            load = Load(kinds, requests, run.shape, run.seconds, run.warm_up_seconds)
            meter = Meter({ECHO: Tree(pid)})
            return measurement(self.name, shape, run_load(load, meter), meter)


@contextmanager
def _echoing(certificates: Path | None) -> Iterator[tuple[Target, int]]:
    folder = [] if certificates is None else [certificates]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.baselines.echo_server", str(_ANSWER_BYTES), *folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise TypeError("a pipe was asked for")
        yield Target("127.0.0.1", int(process.stdout.readline()), certificates), process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


ECHO_PLAIN = EchoCase("echo", "bare ASGI server, same bytes in and out")
ECHO_TLS = EchoCase("echo-tls", "the same over mutual TLS", secure=True)
