"""What the cases work on: one deployment, its server, its service, and the tokens that are in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.database import copy_database, fill_copy
from benchmarks.deployment import Serving, make_deployment, serving
from benchmarks.generator import ClosedLoop, Kind, Load, Outcome, Target, run_load
from benchmarks.measurement import POSTGRES, SERVICE
from benchmarks.options import Options
from benchmarks.postgres import tuned_server
from benchmarks.processes import Tree
from benchmarks.requests import creates, releases, tokens_in
from benchmarks.terminals import Fleet
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.infrastructure.database.embedded import EmbeddedServer
from payment_token.settings import Settings

_SEED_CLIENTS = 16


@dataclass
class Bench:
    """``closing`` ends what a case starts for itself and keeps until the end.
    ``baseline_url`` is a second database of the same server, with tokens like those of the first.
    """

    options: Options
    env_file: Path
    server: EmbeddedServer
    service: Serving
    closing: ExitStack
    baseline_url: str
    tokens: list[str] = field(default_factory=list)
    _fleets: dict[BDKAlgorithm, Fleet] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.env_file.parent

    @property
    def public(self) -> Target:
        return Target.of(self.service.urls["public"], self.folder)

    @property
    def internal(self) -> Target:
        return Target.of(self.service.urls["internal"], self.folder)

    @property
    def internal_grpc(self) -> Target:
        return Target.of(self.service.urls["internal_grpc"], self.folder)

    @property
    def api_key(self) -> str:
        return (self.folder / "api-key").read_text().strip()

    @property
    def trees(self) -> dict[str, Tree]:
        postmaster = self.server.postmaster_pid
        if postmaster is None:
            raise SystemExit("PostgreSQL has ended; see its log")
        return {SERVICE: Tree(self.service.pid), POSTGRES: Tree(postmaster)}

    @property
    def service_settings(self) -> dict[str, str]:
        """Those that a figure depends on, as the service has them."""
        settings = Settings.load(self.env_file)
        return {
            "environment": settings.environment,
            "SAD stored for seconds": str(settings.sad_ttl_seconds),
            "device keys cached": str(settings.device_key_cache_size),
        }

    def fleet(self, algorithm: BDKAlgorithm) -> Fleet:
        if algorithm not in self._fleets:
            self._fleets[algorithm] = Fleet(self.env_file, algorithm)
        return self._fleets[algorithm]

    def seed(self) -> None:
        """Tokens to look at and to release, each released once, so that every table has rows of the service's own."""
        number = self.options.tokens
        bodies = self.fleet(BDKAlgorithm.AES_128).bodies(number)
        made = self._every(
            Kind("create", self.public, 201), creates(self.public, self.api_key, bodies), number
        )
        self.tokens = tokens_in(made.kept)
        first = releases(self.internal, self.tokens[:_SEED_CLIENTS])
        self._every(Kind("decrypt", self.internal, 200), iter(first), len(first))

    @staticmethod
    def _every(kind: Kind, requests: Iterator[tuple[int, bytes]], number: int) -> Outcome:
        shape = ClosedLoop(_SEED_CLIENTS)
        load = Load((kind,), requests, shape, seconds=600, warm_up_seconds=0, keep=number)
        outcome = run_load(load, lambda _: None)
        if outcome.errors:
            raise SystemExit(f"the service does not do its work: {outcome.errors}")
        return outcome


@contextmanager
def running(options: Options) -> Iterator[Bench]:
    with (
        TemporaryDirectory(prefix="pt-benchmark-") as folder,
        ExitStack() as closing,
    ):
        env_file = make_deployment(Path(folder) / "deployment")
        server = closing.enter_context(tuned_server(env_file.parent))
        # A copy is made while nobody is connected, and filled when there are rows to take after.
        baseline_url = copy_database(server)
        service = closing.enter_context(serving(env_file, options.workers))
        bench = Bench(options, env_file, server, service, closing, baseline_url)
        bench.seed()
        fill_copy(server.url, baseline_url)
        yield bench
