"""The plain statements of a create and of a decrypt, one transaction each, by PostgreSQL's own load generator.

Every transaction waits for its own commit. A service that commits many requests at once may be faster than this.
"""

import re
import resource
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.baselines.database import Scripts, scripts
from benchmarks.bench import Bench
from benchmarks.generator import Shape
from benchmarks.measurement import GENERATOR, Measurement
from benchmarks.options import Options
from benchmarks.postgres import environment_for
from benchmarks.processes import Meter
from payment_token.infrastructure.database.embedded import find_binaries

CLIENTS = 32
_SHAPE = f"{CLIENTS} clients"

_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")


@dataclass(frozen=True, slots=True)
class PgbenchCase:
    name: str
    title: str
    script: Callable[[Scripts], str]

    def shapes(self, options: Options) -> Sequence[Shape | str]:  # noqa: ARG002
        return (_SHAPE,)

    def measure(self, bench: Bench, shape: Shape | str) -> Measurement:
        path = bench.folder / f"{self.name}.sql"
        path.write_text(self.script(scripts(bench.server.url)))
        run_pgbench(bench.baseline_url, path, bench.options.warm_up_seconds)
        trees = bench.trees
        meter = Meter(trees)
        before = _cpu_of_children()
        meter("begin")
        ran = run_pgbench(bench.baseline_url, path, bench.options.seconds)
        meter("end")
        return Measurement(
            case=self.name,
            shape=str(shape),
            rate=ran.rate,
            seconds=ran.done / ran.rate,
            operations=ran.done,
            cpu_seconds={GENERATOR: _cpu_of_children() - before}
            | {name: used.cpu_seconds for name, used in meter.usage.items() if name == "postgres"},
            errors={"failed transactions": ran.failed} if ran.failed else {},
        )


@dataclass(frozen=True, slots=True)
class Ran:
    """Transactions: how many were done, how many in a second, how many failed."""

    done: int
    rate: float
    failed: int


def run_pgbench(url: str, script: Path, seconds: float, clients: int = CLIENTS) -> Ran:
    threads = min(2, clients)
    command = ("-n", "-M", "prepared", "-c", str(clients), "-j", str(threads))
    finished = subprocess.run(
        [find_binaries() / "pgbench", *command, "-T", str(max(1, round(seconds))), "-f", script],
        env=environment_for(url),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"pgbench: {finished.stderr[-2000:]}")
    said = finished.stdout
    return Ran(int(_first(_DONE, said)), float(_first(_RATE, said)), int(_first(_FAILED, said)))


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise SystemExit(f"pgbench says something new: {text}")
    return found[1]


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


PGBENCH_CREATE = PgbenchCase(
    "pgbench-create", "PostgreSQL alone: begin, claim, token, commit", lambda found: found.create
)
PGBENCH_DECRYPT = PgbenchCase(
    "pgbench-decrypt", "PostgreSQL alone: begin, read, audit, commit", lambda found: found.decrypt
)
