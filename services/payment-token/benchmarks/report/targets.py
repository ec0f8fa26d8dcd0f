"""What the service is to reach on two cores, and what is hoped for."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.measurement import ECHO, SERVICE, Results, Spread


@dataclass(frozen=True, slots=True)
class Goal:
    """``figure`` is ``None`` where what it needs was not measured."""

    name: str
    unit: str
    bound: float
    hoped: float
    figure: Callable[[Results], float | None]
    at_least: bool = True

    def met(self, value: float, *, hoped: bool = False) -> bool:
        bound = self.hoped if hoped else self.bound
        return value >= bound if self.at_least else value <= bound

    def verdict(self, value: float) -> str:
        if self.met(value, hoped=True):
            return "more than asked"
        return "met" if self.met(value) else "missed"


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _peak(case: str) -> Callable[[Results], float | None]:
    def figure(results: Results) -> float | None:
        series = results.peak(case)
        return None if series is None else _median(series.rate)

    return figure


def _cpu(case: str, name: str) -> Callable[[Results], float | None]:
    def figure(results: Results) -> float | None:
        series = results.peak(case)
        return None if series is None else _median(series.cpu(name))

    return figure


def _ratio(
    above: Callable[[Results], float | None], below: Callable[[Results], float | None]
) -> Callable[[Results], float | None]:
    def figure(results: Results) -> float | None:
        numerator, denominator = above(results), below(results)
        return numerator / denominator if numerator is not None and denominator else None

    return figure


def _latency(case: str, rate: float, level: float) -> Callable[[Results], float | None]:
    def figure(results: Results) -> float | None:
        series = results.offered(case, rate)
        return None if series is None else _median(series.latency(level))

    return figure


def _resident(results: Results) -> float | None:
    series = results.peak("create-aes")
    return None if series is None else _median(series.resident(SERVICE))


_OFFERED = 1000.0
_CREATE, _DECRYPT = _peak("create-aes"), _peak("decrypt")

GOALS = (
    Goal("create", "/s", 5000, 8000, _CREATE),
    Goal("create ÷ pgbench create", "", 0.5, 0.9, _ratio(_CREATE, _peak("pgbench-create"))),
    Goal("decrypt", "/s", 7000, 10_000, _DECRYPT),
    Goal("cards created in batches", "/s", 12_000, 20_000, _peak("create-batch")),
    Goal("cards decrypted in batches", "/s", 15_000, 25_000, _peak("decrypt-batch")),
    Goal("decrypt over gRPC ÷ decrypt", "", 0.6, 0.9, _ratio(_peak("decrypt-grpc"), _DECRYPT)),
    Goal("decrypt ÷ pgbench decrypt", "", 0.75, 1.1, _ratio(_DECRYPT, _peak("pgbench-decrypt"))),
    Goal(
        "service CPU of a create ÷ CPU of an echo",
        "",
        4,
        2.5,
        _ratio(_cpu("create-aes", SERVICE), _cpu("echo", ECHO)),
        at_least=False,
    ),
    *(
        Goal(
            f"{name} p{level * 100:g} at 1,000/s",
            " ms",
            bound,
            hoped,
            _latency(case, _OFFERED, level),
            at_least=False,
        )
        for name, case in (("create", "create-aes"), ("decrypt", "decrypt"))
        for level, bound, hoped in ((0.5, 4, 1.5), (0.99, 20, 6))
    ),
    Goal("memory of a worker under creates", " MB", 200, 100, _resident, at_least=False),
)
