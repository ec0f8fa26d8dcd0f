"""``payment-token maintain`` at work while creates come in at a fixed rate."""

import subprocess
import time
from array import array
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.deployment import PAYMENT_TOKEN
from benchmarks.generator import Kind, Load, OpenLoop, Quantiles, run_load
from benchmarks.requests import creates
from payment_token.domain.enrolment import BDKAlgorithm

_BEFORE_SECONDS = 10.0
_BUCKET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Expiry:
    """Times are seconds from the first create. ``curve`` has, for each moment, the median, p99 and most in milliseconds."""

    what: str
    rate: float
    said: str
    began: float
    ended: float
    before: Quantiles
    during: Quantiles
    curve: tuple[tuple[float, float, float, float], ...]
    errors: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.what}: maintain took {self.ended - self.began:.1f} s at {self.rate:g} creates/s;"
            f" p99 before {self.before[0.99]:.2f} ms, during {self.during[0.99]:.2f} ms,"
            f" slowest before {self.before[1.0]:.1f} ms, during {self.during[1.0]:.1f} ms. It said: {self.said}"
        )


class _Maintenance:
    """Starts once the load has gone on for a while."""

    def __init__(self, bench: Bench) -> None:
        self._command = [*PAYMENT_TOKEN, "maintain", "--env-file", bench.env_file]
        self.began = self.ended = 0
        self.said = ""
        self.failed = False

    def run(self) -> None:
        self.began = time.perf_counter_ns()
        finished = subprocess.run(self._command, capture_output=True, text=True, check=False)
        self.ended = time.perf_counter_ns()
        self.said = finished.stdout.strip()
        self.failed = finished.returncode != 0


def measure_expiry(bench: Bench, what: str, rate: float, longest: float) -> Expiry:
    """The load goes on for ``longest`` seconds, which should be longer than maintenance takes."""
    bodies = bench.fleet(BDKAlgorithm.AES_128).bodies(round(rate * (longest + 5)))
    requests = list(creates(bench.public, bench.api_key, bodies))
    kind = Kind("create", bench.public, 201)
    load = Load((kind,), iter(requests), OpenLoop(rate), longest, 2.0, timed=True)
    maintenance = _Maintenance(bench)

    def observe(moment: str) -> None:
        # The generator is a process of its own, and does not wait for this one.
        if moment == "begin":
            time.sleep(_BEFORE_SECONDS)
            maintenance.run()

    outcome = run_load(load, observe)
    first = min(due for due, _ in outcome.moments)
    errors = [f"{what}: {number} x {error}" for error, number in outcome.errors.items()]
    if maintenance.failed:
        errors.append(f"{what}: maintain failed")
    if maintenance.ended > max(due for due, _ in outcome.moments):
        errors.append(f"{what}: maintain took longer than the load; give more --expire-seconds")
    return Expiry(
        what=what,
        rate=rate,
        said=maintenance.said,
        began=(maintenance.began - first) / 1e9,
        ended=(maintenance.ended - first) / 1e9,
        before=_between(outcome.moments, 0, maintenance.began),
        during=_between(outcome.moments, maintenance.began, maintenance.ended),
        curve=_curve(outcome.moments, first),
        errors=tuple(errors),
    )


def _between(moments: tuple[tuple[int, int], ...], start: int, end: int) -> Quantiles:
    return Quantiles.of(array("q", (took for due, took in moments if start <= due < end)))


def _curve(
    moments: tuple[tuple[int, int], ...], first: int
) -> tuple[tuple[float, float, float, float], ...]:
    buckets: dict[int, array[int]] = {}
    for due, took in moments:
        number = int((due - first) / 1e9 / _BUCKET_SECONDS)
        buckets.setdefault(number, array("q")).append(took)
    found = {number: Quantiles.of(took) for number, took in sorted(buckets.items())}
    return tuple(
        (number * _BUCKET_SECONDS, within[0.5], within[0.99], within[1.0])
        for number, within in found.items()
    )
