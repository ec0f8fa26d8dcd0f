"""Creates and releases in batches. Cards are counted, and each of them must be done."""

from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import Kind, Load
from benchmarks.requests import create_batches, release_batches
from payment_token.domain.enrolment import BDKAlgorithm

# A result that is none: not done in time, or refused.
_PROBLEM = b'"problem"'

# To encrypt the reads beforehand takes longer than the run. Where the service is faster, the run ends before its time.
_MOST_CARDS_A_SECOND = 20_000


def _creates(bench: Bench, run: Run) -> Load:
    cards = round(_MOST_CARDS_A_SECOND * (run.seconds + run.warm_up_seconds))
    bodies = bench.fleet(BDKAlgorithm.AES_128).bodies(cards)
    requests = list(create_batches(bench.public, bench.api_key, bodies, bench.options.batch))
    kind = Kind("create", bench.public, 200, never=_PROBLEM)
    return Load((kind,), iter(requests), run.shape, run.seconds, run.warm_up_seconds)


def _releases(bench: Bench, run: Run) -> Load:
    # All of the same size, whatever is left over.
    size = min(bench.options.batch, len(bench.tokens))
    tokens = bench.tokens[: len(bench.tokens) // size * size]
    requests = cycle(release_batches(bench.internal, tokens, size))
    kind = Kind("decrypt", bench.internal, 200, never=_PROBLEM)
    return Load((kind,), requests, run.shape, run.seconds, run.warm_up_seconds)


CREATE_BATCH = LoadCase(
    "create-batch", "create in batches, AES DUKPT, track 2", _creates, in_batches=True
)
DECRYPT_BATCH = LoadCase(
    "decrypt-batch", "decrypt in batches, mutual TLS", _releases, in_batches=True
)
