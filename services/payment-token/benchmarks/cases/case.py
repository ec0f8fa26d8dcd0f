"""What a case is. Each has a file of its own here, and its name in the registry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.bench import Bench
from benchmarks.generator import ClosedLoop, Load, OpenLoop, Outcome, Shape, run_load
from benchmarks.measurement import Measurement
from benchmarks.options import Options
from benchmarks.processes import Meter


class Case(Protocol):
    """``shapes`` are the ways in which it is measured, each once in every run."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def shapes(self, options: Options) -> Sequence[Shape | str]: ...

    def measure(self, bench: Bench, shape: Shape | str) -> Measurement: ...


# A closed loop that is answered faster than this uses its requests up, and ends before its time.
_FASTEST = 12_000.0

# More would be sent away: a process takes 16 batches at once, and may get all the connections.
_BATCHES = 8


@dataclass(frozen=True, slots=True)
class LoadCase:
    """A case that is a load of the generator. ``offered`` ones are measured at fixed rates as well.

    ``in_batches``: each request is for many cards, and cards are what is counted. Latency is that of a batch.
    """

    name: str
    title: str
    make_load: Callable[[Bench, "Run"], Load]
    offered: bool = False
    in_batches: bool = False

    def shapes(self, options: Options) -> Sequence[Shape | str]:
        closed = [
            ClosedLoop(clients) for clients in sorted(set(map(self.clients, options.clients)))
        ]
        return [*closed, *(OpenLoop(rate) for rate in options.rates if self.offered)]

    def measure(self, bench: Bench, shape: Shape | str) -> Measurement:
        if isinstance(shape, str):
            raise TypeError("a load has the shape of a loop")
        run = Run(shape, bench.options.seconds, bench.options.warm_up_seconds)
        load, meter = self.make_load(bench, run), Meter(bench.trees)
        outcome = run_load(load, meter)
        if self.in_batches:
            outcome = outcome.times(bench.options.batch)
        return measurement(self.name, shape, outcome, meter)

    def clients(self, asked: int) -> int:
        return min(asked, _BATCHES) if self.in_batches else asked


@dataclass(frozen=True, slots=True)
class Run:
    shape: Shape
    seconds: float
    warm_up_seconds: float

    @property
    def most(self) -> int:
        """How many requests it can take."""
        whole = self.seconds + self.warm_up_seconds
        if isinstance(self.shape, OpenLoop):
            return round(self.shape.rate * whole * 1.05) + 10
        return round(_FASTEST * whole)


def measurement(name: str, shape: Shape, outcome: Outcome, meter: Meter) -> Measurement:
    offered = shape.rate if isinstance(shape, OpenLoop) else None
    return Measurement.of(name, str(shape), outcome, meter.usage, offered)
