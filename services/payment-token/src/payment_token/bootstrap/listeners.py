"""What listens: the public, the internal and the metrics listener, each with its routes and its TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter

from payment_token.api.batch import Batches
from payment_token.api.listener import Listener
from payment_token.api.reloaded_context import ReloadedContext
from payment_token.api.rest.application import BEARER, MUTUAL_TLS, application
from payment_token.api.rest.batch_models import (
    CreateBatchBody,
    CreateItemBody,
    DecryptBatchBody,
)
from payment_token.api.rest.completion_models import CompletionBody
from payment_token.api.rest.decrypt_models import DecryptBody
from payment_token.api.rest.devices import MODELS as DEVICE_MODELS
from payment_token.api.rest.devices import device_routes
from payment_token.api.rest.internal import internal_routes
from payment_token.api.rest.observation import RequestMetrics
from payment_token.api.rest.operations import Readiness, health_routes, metrics_route
from payment_token.api.rest.plain_routes import together
from payment_token.api.rest.public import public_routes
from payment_token.api.rest.shared_counts import of_all_processes
from payment_token.api.rest.token_models import CreateTokenBody
from payment_token.api.rpc.library_log import LibraryLog
from payment_token.api.tls import mutual_context, server_context
from payment_token.bootstrap.audit import this_process
from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.grpc_listeners import (
    INTERNAL_GRPC,
    PUBLIC_GRPC,
    internal_grpc,
    public_grpc,
)
from payment_token.bootstrap.recorded_counts import Counts, recorded_counts
from payment_token.bootstrap.recorded_policy import LOOK_SECONDS, RecordedPolicy
from payment_token.bootstrap.sealer import Sealer
from payment_token.bootstrap.service import Service
from payment_token.bootstrap.upkeep import Upkeep
from payment_token.bootstrap.worker_certificates import readiness_with, worker_certificates
from payment_token.domain.refused_handshakes import RefusedHandshakes
from payment_token.infrastructure.standard_error import messages_of_libraries
from payment_token.infrastructure.worker_policy_file import WorkerPolicyFile
from payment_token.settings import ConfigurationError, Settings


class AnyListener(Protocol):
    """Of HTTP or of gRPC."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    def bind(self, *, shared: bool = False) -> None: ...

    async def serve(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Role(StrEnum):
    """What a process of a deployment does. In development one process does it all."""

    PUBLIC = "public"
    INTERNAL = "internal"
    MAINTAIN = "maintain"
    SEALER = "sealer"

    @property
    def answers(self) -> bool:
        """Whether it answers requests. What does not is one process of a deployment, with a login of its own."""
        return self in (Role.PUBLIC, Role.INTERNAL)


@dataclass(frozen=True, slots=True)
class Listeners:
    """``policy`` is ``None`` for a process that releases nothing, and nothing is counted there.

    ``library_log`` takes what gRPC's library says; ``None`` for a process without it.
    """

    all: tuple[AnyListener, ...]
    policy: RecordedPolicy | None
    counts: tuple[Counts, ...] = ()
    library_log: LibraryLog | None = None

    @property
    def urls(self) -> dict[str, str]:
        """By the names of the listeners, once they listen."""
        return {listener.name: listener.url for listener in self.all}

    def named(self, name: str) -> AnyListener:
        return next(listener for listener in self.all if listener.name == name)


def addresses(settings: Settings, roles: Collection[Role]) -> dict[str, str]:
    """Where the listeners of these roles listen, by the names of the listeners."""
    found: dict[str, str] = {}
    if Role.PUBLIC in roles:
        found |= {"public": settings.public_address, PUBLIC_GRPC: settings.public_grpc_address}
    if Role.INTERNAL in roles:
        found |= {
            "internal": settings.internal_address,
            INTERNAL_GRPC: settings.internal_grpc_address,
        }
    return found | {"metrics": settings.metrics_address}


def build_listeners(
    service: Service,
    roles: Collection[Role],
    sealer: Sealer | None = None,
    upkeep: Upkeep | None = None,
) -> Listeners:
    """Raises ConfigurationError when a certificate, a key or the policy is missing or wrong."""
    settings, metrics = service.settings, RequestMetrics()
    _register_metrics(metrics, upkeep, sealer)
    documented = not settings.in_production
    health = health_routes(service.readiness)
    counted = metrics_route(of_all_processes(metrics.registry))
    # A process that makes no tokens is ready without a place for them.
    ready_to_release: Readiness = service.readiness_to_release
    if Role.INTERNAL in roles:
        workers = worker_certificates(settings)
        ready_to_release = readiness_with(workers, ready_to_release)
    release_health = health_routes(ready_to_release)
    listeners: list[AnyListener] = []
    service.device_event_metrics.register_in(metrics.registry)
    policy = None
    counts: tuple[Counts, ...] = ()
    count_refusal: Callable[[str], None] | None = None
    if Role.PUBLIC in roles:
        use_cases, batches = service.public_use_cases(), _batches(metrics, Role.PUBLIC)
        app = application(
            "public",
            (health, counted) if documented else (health,),
            metrics,
            plain=together(
                public_routes(use_cases, batches, hints=settings.in_development),
                device_routes(service.device_use_cases()),
            ),
            models=(CreateTokenBody, CreateItemBody, CreateBatchBody, *DEVICE_MODELS),
            security=BEARER,
            documented=documented,
            hints=settings.in_development,
        )
        listeners.append(Listener("public", settings.public_address, app, _public_tls(settings)))
        listeners.append(public_grpc(settings, metrics, use_cases, batches, service.readiness))
    if Role.INTERNAL in roles:
        policies = WorkerPolicyFile(_required("WORKER_POLICY_FILE", settings.worker_policy_file))
        policy = RecordedPolicy(policies, service.audit_log, this_process())
        counts = (service.limit_refusals, service.refused_handshakes)
        count_refusal = _counted_in(metrics, service.refused_handshakes)
        internal, batches = service.internal_use_cases(policies), _batches(metrics, Role.INTERNAL)
        service.limit_metrics.register_in(metrics.registry)
        app = application(
            "internal",
            (release_health,),
            metrics,
            plain=internal_routes(internal, workers, batches),
            models=(DecryptBody, DecryptBatchBody, CompletionBody),
            security=MUTUAL_TLS,
            documented=documented,
            hints=False,
        )
        listeners.append(
            Listener(
                "internal",
                settings.internal_address,
                app,
                _internal_tls(settings, count_refusal),
            )
        )
        listeners.append(
            internal_grpc(settings, metrics, internal, workers, batches, ready_to_release)
        )
    listeners.append(
        _metrics_listener(settings, metrics, health if Role.PUBLIC in roles else release_health)
    )
    alone = Role.PUBLIC not in roles or settings.public_tls_cert_file is None
    library_log = LibraryLog(_from_a_thread(count_refusal), alone=alone)
    return Listeners(tuple(listeners), policy, counts, library_log)


def background_listeners(
    settings: Settings, upkeep: Upkeep | None, sealer: Sealer | None
) -> Listeners:
    """Of a process that only maintains or seals: health and metrics."""
    metrics = RequestMetrics()
    _register_metrics(metrics, upkeep, sealer)

    async def readiness() -> dict[str, str]:
        failing = {}
        for part in (upkeep, sealer):
            failing.update({} if part is None else await part.readiness())
        return failing

    return Listeners((_metrics_listener(settings, metrics, health_routes(readiness)),), None)


def _batches(metrics: RequestMetrics, side: Role) -> Batches:
    return Batches(lambda code: metrics.batch_items.labels(side.value, code).inc())


def _register_metrics(
    metrics: RequestMetrics, upkeep: Upkeep | None, sealer: Sealer | None
) -> None:
    for part in (upkeep, sealer):
        if part is not None:
            part.register_metrics(metrics.registry)


def _metrics_listener(settings: Settings, metrics: RequestMetrics, health: APIRouter) -> Listener:
    app = application(
        "metrics",
        (metrics_route(of_all_processes(metrics.registry)), health),
        metrics,
        documented=False,
        hints=False,
    )
    return Listener("metrics", settings.metrics_address, app)


@asynccontextmanager
async def serving(listeners: Listeners, *, shared: bool = False) -> AsyncIterator[None]:
    """Listens while the block runs, then lets the requests in progress finish. Raises ListenError, AuditUnavailableError.

    ``shared``: on addresses that are reserved for several processes.
    """
    if listeners.policy is not None:
        await listeners.policy.begin()
    try:
        async with (
            # Until the last request is answered: none is refused uncounted.
            recorded_counts(listeners.counts),
            _policy_looked_after(listeners.policy),
        ):
            with _heard(listeners.library_log):
                for listener in listeners.all:
                    listener.bind(shared=shared)
                tasks = [asyncio.create_task(listener.serve()) for listener in listeners.all]
                try:
                    yield
                finally:
                    for listener in listeners.all:
                        listener.stop()
                    await asyncio.gather(*tasks)
    finally:
        for listener in listeners.all:
            listener.close()


@contextmanager
def _heard(library_log: LibraryLog | None) -> Iterator[None]:
    if library_log is None:
        yield
        return
    with messages_of_libraries(library_log.take):
        yield


@asynccontextmanager
async def _policy_looked_after(policy: RecordedPolicy | None) -> AsyncIterator[None]:
    if policy is None:
        yield
        return
    async with repeated(policy.look, LOOK_SECONDS):
        yield


def _public_tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.public_tls_cert_file is None and settings.public_tls_key_file is None:
        return None
    certificate = _required("PUBLIC_TLS_CERT_FILE", settings.public_tls_cert_file)
    key = _required("PUBLIC_TLS_KEY_FILE", settings.public_tls_key_file)
    return _tls(
        "PUBLIC_TLS_CERT_FILE, PUBLIC_TLS_KEY_FILE",
        lambda: server_context(certificate, key),
        (certificate, key),
    )


def _counted_in(metrics: RequestMetrics, refused: RefusedHandshakes) -> Callable[[str], None]:
    def count_refusal(reason: str) -> None:
        metrics.handshakes_refused.labels(reason).inc()
        refused.note(reason)

    return count_refusal


def _from_a_thread(count_refusal: Callable[[str], None] | None) -> Callable[[str], None] | None:
    if count_refusal is None:
        return None
    loop, count = asyncio.get_running_loop(), count_refusal

    def count_soon(reason: str) -> None:
        loop.call_soon_threadsafe(count, reason)

    return count_soon


def _internal_tls(settings: Settings, count_refusal: Callable[[str], None]) -> ssl.SSLContext:
    certificate = _required("INTERNAL_TLS_CERT_FILE", settings.internal_tls_cert_file)
    key = _required("INTERNAL_TLS_KEY_FILE", settings.internal_tls_key_file)
    client_ca = _required("CLIENT_CA_FILE", settings.client_ca_file)
    client_crl = settings.client_crl_file
    files = (certificate, key, client_ca, *(() if client_crl is None else (client_crl,)))
    return _tls(
        "INTERNAL_TLS_CERT_FILE, INTERNAL_TLS_KEY_FILE, CLIENT_CA_FILE, CLIENT_CRL_FILE",
        lambda: mutual_context(certificate, key, client_ca, client_crl, count_refusal),
        files,
    )


def _tls(names: str, build: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> ssl.SSLContext:
    try:
        return ReloadedContext.of(build, files)
    except OSError as error:
        raise ConfigurationError(f"{names}: {error.strerror or error}") from None


def _required(name: str, path: Path | None) -> Path:
    if path is None:
        raise ConfigurationError(
            f"{name} is required. In development, `payment-token dev init` sets everything up."
        )
    return path
