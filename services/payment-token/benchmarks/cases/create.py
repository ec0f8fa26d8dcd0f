"""Creates: a terminal's track 2, encrypted under DUKPT, becomes a token. Every idempotency key is new."""

from benchmarks.bench import Bench
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import Kind, Load
from benchmarks.requests import creates
from payment_token.domain.enrolment import BDKAlgorithm


def _load_of(algorithm: BDKAlgorithm, bench: Bench, run: Run) -> Load:
    bodies = bench.fleet(algorithm).bodies(run.most)
    requests = list(creates(bench.public, bench.api_key, bodies))
    kind = Kind("create", bench.public, 201)
    return Load((kind,), iter(requests), run.shape, run.seconds, run.warm_up_seconds)


CREATE_AES = LoadCase(
    "create-aes",
    "create, AES DUKPT, track 2",
    lambda bench, run: _load_of(BDKAlgorithm.AES_128, bench, run),
    offered=True,
)
CREATE_TDES = LoadCase(
    "create-tdes",
    "create, TDES DUKPT, track 2",
    lambda bench, run: _load_of(BDKAlgorithm.TDES_2KEY, bench, run),
)
