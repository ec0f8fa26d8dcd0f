"""Card data back to a worker: mutual TLS, kept connections, and a durable audit record before each answer."""

from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import Kind, Load
from benchmarks.requests import release_calls, releases


def _load(bench: Bench, run: Run) -> Load:
    requests = cycle(releases(bench.internal, bench.tokens))
    kind = Kind("decrypt", bench.internal, 200)
    return Load((kind,), requests, run.shape, run.seconds, run.warm_up_seconds)


def _calls(bench: Bench, run: Run) -> Load:
    requests = cycle(release_calls(bench.internal_grpc, bench.tokens))
    kind = Kind("decrypt", bench.internal_grpc, 200)
    return Load((kind,), requests, run.shape, run.seconds, run.warm_up_seconds)


DECRYPT = LoadCase("decrypt", "decrypt, mutual TLS", _load, offered=True)
DECRYPT_GRPC = LoadCase("decrypt-grpc", "decrypt over gRPC", _calls, offered=True)
