"""One figure of one run, and what several runs of it say together."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.generator import Outcome, Quantiles
from benchmarks.processes import Usage

SERVICE = "service"
POSTGRES = "postgres"
GENERATOR = "generator"
ECHO = "echo"

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Measurement:
    """``cpu_seconds`` and ``operations`` belong to the same measured time."""

    case: str
    shape: str
    rate: float
    seconds: float
    operations: int
    offered: float | None = None
    latency: Quantiles = field(default_factory=lambda: Quantiles({}))
    latency_of: dict[str, Quantiles] = field(default_factory=dict)
    lateness: Quantiles = field(default_factory=lambda: Quantiles({}))
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        case: str,
        shape: str,
        outcome: Outcome,
        usage: dict[str, Usage],
        offered: float | None = None,
    ) -> "Measurement":
        unanswered = {"not answered in time": outcome.unanswered} if outcome.unanswered else {}
        return cls(
            case=case,
            shape=shape,
            rate=outcome.rate,
            seconds=outcome.seconds,
            operations=outcome.total,
            offered=offered,
            latency=outcome.latency,
            latency_of=outcome.latency_of,
            lateness=outcome.lateness,
            cpu_seconds={GENERATOR: outcome.generator_cpu_seconds}
            | {name: used.cpu_seconds for name, used in usage.items()},
            usage=usage,
            errors=outcome.errors | unanswered,
        )

    def cpu_microseconds(self, name: str) -> float | None:
        """Of each operation."""
        if name not in self.cpu_seconds or not self.operations:
            return None
        return self.cpu_seconds[name] / self.operations * 1e6

    def largest_resident_megabytes(self, name: str) -> float | None:
        """Of the largest process."""
        used = self.usage.get(name)
        return (
            max(memory.resident for memory in used.memory) / _MEGABYTE
            if used and used.memory
            else None
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the runs, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        found = list(values)
        return cls(statistics.median(found), min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one case in one shape."""

    case: str
    shape: str
    offered: float | None
    runs: tuple[Measurement, ...]

    def spread(self, figure: Callable[[Measurement], float | None]) -> Spread | None:
        return Spread.of(value for run in self.runs if (value := figure(run)) is not None)

    @property
    def rate(self) -> Spread | None:
        return self.spread(lambda run: run.rate)

    def latency(self, level: float) -> Spread | None:
        """Milliseconds."""
        return self.spread(lambda run: run.latency.at.get(level))

    def cpu(self, name: str) -> Spread | None:
        """Microseconds of each operation."""
        return self.spread(lambda run: run.cpu_microseconds(name))

    def resident(self, name: str) -> Spread | None:
        """Megabytes of the largest process."""
        return self.spread(lambda run: run.largest_resident_megabytes(name))


class Results:
    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.measurements = list(measurements)

    def series(self) -> list[Series]:
        """In the order in which they were first measured."""
        grouped: dict[tuple[str, str], list[Measurement]] = {}
        for each in self.measurements:
            grouped.setdefault((each.case, each.shape), []).append(each)
        return [
            Series(case, shape, runs[0].offered, tuple(runs))
            for (case, shape), runs in grouped.items()
        ]

    def of(self, case: str) -> list[Series]:
        return [series for series in self.series() if series.case == case]

    def peak(self, case: str) -> Series | None:
        """The closed loop of the case that answered most."""
        closed = [series for series in self.of(case) if series.offered is None]
        return max(closed, key=_median_rate, default=None)

    def offered(self, case: str, rate: float) -> Series | None:
        return next((series for series in self.of(case) if series.offered == rate), None)

    @property
    def errors(self) -> list[str]:
        return [
            f"{each.case}, {each.shape}: {number} x {error}"
            for each in self.measurements
            for error, number in each.errors.items()
        ]


def _median_rate(series: Series) -> float:
    return series.rate.median if series.rate else 0.0
