"""The masked view of a token."""

from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import Kind, Load
from benchmarks.requests import views


def _load(bench: Bench, run: Run) -> Load:
    requests = cycle(views(bench.public, bench.api_key, bench.tokens))
    kind = Kind("get", bench.public, 200)
    return Load((kind,), requests, run.shape, run.seconds, run.warm_up_seconds)


GET = LoadCase("get", "get, masked view", _load)
