"""The one place that knows every layer: it builds the adapters, hands them to the use cases, and runs the listeners."""

import asyncio
import contextlib
import logging
import os
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from payment_token.api.listener import Listener
from payment_token.api.rest.application import BEARER, MUTUAL_TLS, application
from payment_token.api.rest.decrypt_models import DecryptBody
from payment_token.api.rest.internal import internal_routes
from payment_token.api.rest.observation import RequestMetrics
from payment_token.api.rest.operations import health_routes, metrics_route
from payment_token.api.rest.public import PublicUseCases, public_routes
from payment_token.api.rest.token_models import CreateTokenBody
from payment_token.api.tls import mutual_context, server_context
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.release import Release
from payment_token.domain.revoke_token import RevokeToken
from payment_token.domain.tokenise import Tokenise, TokenRules
from payment_token.domain.view_token import ViewToken
from payment_token.infrastructure.custody.local_keystore import SCHEME, LocalKeystore
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.clock import SYNC_INTERVAL_SECONDS, DatabaseClock
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from payment_token.infrastructure.database.wrapped_keys import (
    PostgresEpochKeys,
    PostgresWrappedKeys,
)
from payment_token.infrastructure.keyring import Keyring
from payment_token.infrastructure.sad_epoch_keyring import REFRESH_SECONDS, SADEpochKeyring
from payment_token.infrastructure.worker_policy_file import WorkerPolicyFile
from payment_token.settings import ConfigurationError, Settings

logger = logging.getLogger(__name__)

FORGET_INTERVAL_SECONDS = 30.0


class Role(StrEnum):
    """What a process of a deployment does. In development one process does it all."""

    PUBLIC = "public"
    INTERNAL = "internal"


class Service:
    """The adapters and use cases of one process. Use it as ``async with Service.started(settings, url)``."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        environment = settings.environment.value
        kek_uri = _kek_uri(settings)
        self.keystore = keystore = open_keystore(settings)
        self.pool: Pool = new_pool(database_url)
        self.clock = DatabaseClock(self.pool)
        self.api_keys = PostgresAPIKeyStore(self.pool)
        self.directory = PostgresDeviceDirectory(
            self.pool, settings.bdk_kms_key_id, defaults_allowed=settings.in_development
        )
        self.audit_log = PostgresAuditLog(self.pool)
        self._kek_uri = kek_uri
        wrapped_keys = PostgresWrappedKeys(self.pool)
        self.service_keys = Keyring("service", wrapped_keys, keystore, environment)
        self.index_keys = Keyring("index", wrapped_keys, keystore, environment)
        self.epoch_keys = SADEpochKeyring(
            PostgresEpochKeys(self.pool),
            keystore,
            self.clock,
            kek_uri=kek_uri,
            environment=environment,
            sad_ttl=settings.sad_ttl,
        )
        self._store = PostgresTokenStore(self.pool, settings.idempotency_window)
        self._device_keys = DeviceKeys(keystore, time.monotonic)

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: Settings, database_url: str) -> AsyncIterator[Self]:
        """Connected, its first keys made, its clock and epoch keys kept fresh until the block ends."""
        service = cls(settings, database_url)
        async with service.pool, contextlib.AsyncExitStack() as stack:
            await service.clock.synchronise()
            await service.service_keys.ensure_first(settings.current_key_version, service._kek_uri)
            await service.index_keys.ensure_first(settings.current_key_version, service._kek_uri)
            await service.epoch_keys.refresh()
            for work, seconds in (
                (service.clock.synchronise, SYNC_INTERVAL_SECONDS),
                (service.epoch_keys.refresh, REFRESH_SECONDS),
                (service.forget_expired_keys, FORGET_INTERVAL_SECONDS),
            ):
                await stack.enter_async_context(repeated(work, seconds))
            yield service

    def public_use_cases(self) -> PublicUseCases:
        settings = self.settings
        rules = TokenRules(
            environment=settings.environment.value,
            card_checks=settings.card_checks_policy,
            registration=settings.registration_rule,
            profile_required=not settings.in_development,
            default_ttl=settings.default_ttl,
            max_ttl=settings.max_ttl,
            sad_ttl=settings.sad_ttl,
        )
        tokenise = Tokenise(
            rules=rules,
            clock=self.clock,
            store=self._store,
            directory=self.directory,
            device_keys=self._device_keys,
            service_keys=self.service_keys,
            epoch_keys=self.epoch_keys,
            index_keys=self.index_keys,
            random=os.urandom,
        )
        return PublicUseCases(
            tokenise=tokenise,
            view_token=ViewToken(clock=self.clock, store=self._store),
            revoke_token=RevokeToken(store=self._store),
            api_keys=self.api_keys,
        )

    def release(self, policies: WorkerPolicyFile) -> Release:
        return Release(
            environment=self.settings.environment.value,
            clock=self.clock,
            store=self._store,
            audit_log=self.audit_log,
            policies=policies,
            service_keys=self.service_keys,
            epoch_keys=self.epoch_keys,
            new_event_id=uuid.uuid4,
        )

    async def readiness(self) -> dict[str, str]:
        """What is not ready, by name."""
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": self.clock.synchronise,
            "clock": self._check_clock,
            "key_custodian": self.service_keys.active,
            "audit": self.audit_log.check_writable,
        }
        failing = {}
        for name, check in checks.items():
            try:
                await check()
            except PaymentTokenError as error:
                failing[name] = error.code
        return failing

    async def forget_expired_keys(self) -> None:
        self._device_keys.forget_expired()
        self.service_keys.forget_expired()
        self.index_keys.forget_expired()

    async def _check_clock(self) -> None:
        self.clock.now()


@dataclass(frozen=True, slots=True)
class Listeners:
    all: tuple[Listener, ...]
    policies: WorkerPolicyFile | None

    def named(self, name: str) -> Listener:
        return next(listener for listener in self.all if listener.name == name)


def build_listeners(service: Service, roles: Collection[Role]) -> Listeners:
    """Raises ConfigurationError when a certificate, a key or the policy is missing or wrong."""
    settings, metrics = service.settings, RequestMetrics()
    documented = not settings.in_production
    health = health_routes(service.readiness)
    listeners = []
    policies = None
    if Role.PUBLIC in roles:
        routers = (public_routes(service.public_use_cases()), health)
        app = application(
            "public",
            (*routers, metrics_route(metrics.registry)) if documented else routers,
            metrics,
            models=(CreateTokenBody,),
            security=BEARER,
            documented=documented,
            hints=settings.in_development,
        )
        listeners.append(Listener("public", settings.public_address, app, _public_tls(settings)))
    if Role.INTERNAL in roles:
        policies = WorkerPolicyFile(_required("WORKER_POLICY_FILE", settings.worker_policy_file))
        app = application(
            "internal",
            (internal_routes(service.release(policies)), health),
            metrics,
            models=(DecryptBody,),
            security=MUTUAL_TLS,
            documented=documented,
            hints=False,
        )
        listeners.append(
            Listener("internal", settings.internal_address, app, _internal_tls(settings))
        )
    app = application(
        "metrics", (metrics_route(metrics.registry), health), metrics, documented=False, hints=False
    )
    listeners.append(Listener("metrics", settings.metrics_address, app))
    return Listeners(tuple(listeners), policies)


@asynccontextmanager
async def serving(listeners: Listeners) -> AsyncIterator[None]:
    """Listens while the block runs, then lets the requests in progress finish. Raises ListenError."""
    try:
        for listener in listeners.all:
            listener.bind()
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


def open_keystore(settings: Settings) -> LocalKeystore:
    """The custodian of BDKs and KEKs that the names of the keys ask for: today the development keystore."""
    for name, uri in (
        ("BDK_KMS_KEY_ID", settings.bdk_kms_key_id),
        ("SERVICE_KMS_KEY_ID", _kek_uri(settings)),
    ):
        if uri is not None and not uri.startswith(SCHEME):
            raise ConfigurationError(
                f"{name}: this release knows keys of the form local:NAME only."
            )
    return LocalKeystore(
        _required("LOCAL_KEYSTORE_FILE", settings.local_keystore_file),
        _required("LOCAL_KEYSTORE_KEY_FILE", settings.local_keystore_key_file),
        settings.environment,
    )


@asynccontextmanager
async def repeated(work: Callable[[], Awaitable[None]], seconds: float) -> AsyncIterator[None]:
    """Does ``work`` every so many seconds while the block runs. A failure is logged, and tried again in time."""

    async def forever() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except PaymentTokenError as error:
                logger.warning(
                    "background work failed", extra={"work": work.__qualname__, "code": error.code}
                )

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _kek_uri(settings: Settings) -> str:
    if settings.service_kms_key_id is None:
        raise ConfigurationError(
            "SERVICE_KMS_KEY_ID is required: it names the key that wraps the service's keys."
            " In development, `payment-token dev init` sets everything up."
        )
    return settings.service_kms_key_id


def _public_tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.public_tls_cert_file is None and settings.public_tls_key_file is None:
        return None
    return _tls(
        "PUBLIC_TLS_CERT_FILE, PUBLIC_TLS_KEY_FILE",
        lambda: server_context(
            _required("PUBLIC_TLS_CERT_FILE", settings.public_tls_cert_file),
            _required("PUBLIC_TLS_KEY_FILE", settings.public_tls_key_file),
        ),
    )


def _internal_tls(settings: Settings) -> ssl.SSLContext:
    return _tls(
        "INTERNAL_TLS_CERT_FILE, INTERNAL_TLS_KEY_FILE, CLIENT_CA_FILE, CLIENT_CRL_FILE",
        lambda: mutual_context(
            _required("INTERNAL_TLS_CERT_FILE", settings.internal_tls_cert_file),
            _required("INTERNAL_TLS_KEY_FILE", settings.internal_tls_key_file),
            _required("CLIENT_CA_FILE", settings.client_ca_file),
            settings.client_crl_file,
        ),
    )


def _tls(names: str, build: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    try:
        return build()
    except OSError as error:
        raise ConfigurationError(f"{names}: {error.strerror or error}") from None


def _required(name: str, path: Path | None) -> Path:
    if path is None:
        raise ConfigurationError(
            f"{name} is required. In development, `payment-token dev init` sets everything up."
        )
    return path
