"""What a deployment sees: nine creates and nine decrypts to each two views."""

from collections.abc import Iterator
from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import Kind, Load, Request
from benchmarks.requests import creates, releases, views
from payment_token.domain.enrolment import BDKAlgorithm

_CREATE, _DECRYPT, _GET = range(3)
# 45 %, 45 % and 10 %, so mixed that no kind comes in bursts.
_TURNS = (
    *(_CREATE, _DECRYPT) * 5,
    _GET,
    *(_CREATE, _DECRYPT) * 4,
    _GET,
)


def _load(bench: Bench, run: Run) -> Load:
    kinds = (
        Kind("create", bench.public, 201),
        Kind("decrypt", bench.internal, 200),
        Kind("get", bench.public, 200),
    )
    bodies = bench.fleet(BDKAlgorithm.AES_128).bodies(run.most // 2)
    ready = list(creates(bench.public, bench.api_key, bodies, _CREATE))
    requests = (
        iter(ready),
        cycle(releases(bench.internal, bench.tokens, _DECRYPT)),
        cycle(views(bench.public, bench.api_key, bench.tokens, _GET)),
    )
    return Load(kinds, _in_turns(requests), run.shape, run.seconds, run.warm_up_seconds)


def _in_turns(requests: tuple[Iterator[Request], ...]) -> Iterator[Request]:
    for kind in cycle(_TURNS):
        request = next(requests[kind], None)
        if request is None:
            return
        yield request


MIXED = LoadCase("mixed", "45 % create, 45 % decrypt, 10 % get", _load)
