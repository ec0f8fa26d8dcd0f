"""The adapters and use cases of one process."""

import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

from payment_token.api.rest.devices import DeviceUseCases
from payment_token.api.rest.internal import InternalUseCases
from payment_token.api.rest.public import PublicUseCases
from payment_token.bootstrap.audit import opened_audit_log, this_process
from payment_token.bootstrap.automatic_suspension import looked_after, suspension_of
from payment_token.bootstrap.background import repeated
from payment_token.bootstrap.device_event_metrics import DeviceEventMetrics
from payment_token.bootstrap.keys import FORGET_INTERVAL_SECONDS, Keys
from payment_token.bootstrap.limit_metrics import LimitMetrics
from payment_token.domain.administer_devices import AdministerDevices
from payment_token.domain.complete_authorization import CompleteAuthorization
from payment_token.domain.decrypt_payload import DecryptPayload
from payment_token.domain.device_events import DeviceEvents
from payment_token.domain.errors import PaymentTokenError
from payment_token.domain.failed_attempts import FailedAttempts
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.limit_refusals import LimitRefusals
from payment_token.domain.ports import VersionedKeys
from payment_token.domain.refused_handshakes import RefusedHandshakes
from payment_token.domain.release import Release
from payment_token.domain.revoke_token import RevokeToken
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.self_test.guarded_keys import GuardedKeys, GuardedRotatingKeys
from payment_token.domain.tokenise import Tokenise, TokenRules
from payment_token.domain.view_token import ViewToken
from payment_token.domain.worker_limits import WorkerLimits
from payment_token.infrastructure.database.api_key_permits import PostgresPermitStore
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.api_key_uses import PostgresAPIKeyUses
from payment_token.infrastructure.database.arrivals import PostgresArrivals
from payment_token.infrastructure.database.audit_log import PostgresAuditLog
from payment_token.infrastructure.database.audit_months import PostgresAuditMonths
from payment_token.infrastructure.database.clock import SYNC_INTERVAL_SECONDS, DatabaseClock
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.infrastructure.database.device_events import PostgresDeviceEvents
from payment_token.infrastructure.database.device_profiles import PostgresDeviceProfiles
from payment_token.infrastructure.database.device_registry import PostgresDeviceRegistry
from payment_token.infrastructure.database.failed_attempts import PostgresFailedAttempts
from payment_token.infrastructure.database.partitions import PostgresPartitions
from payment_token.infrastructure.database.pool import (
    Pool,
    new_batch_pool,
    new_limits_pool,
    new_pool,
)
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from payment_token.infrastructure.database.worker_ledger import PostgresWorkerLedger
from payment_token.infrastructure.leased_permits import LeasedPermits
from payment_token.infrastructure.noted_device_events import (
    WRITE_INTERVAL_SECONDS as EVENTS_INTERVAL_SECONDS,
)
from payment_token.infrastructure.noted_device_events import NotedDeviceEvents
from payment_token.infrastructure.noted_uses import WRITE_INTERVAL_SECONDS, NotedUses
from payment_token.infrastructure.recognised_api_keys import RecognisedAPIKeys
from payment_token.infrastructure.worker_policy_file import WorkerPolicyFile
from payment_token.settings import Settings

SELF_TEST_FAILED = "self_test_failed"
PARTITIONS_MISSING = "partitions_missing"
AUDIT_MONTHS_MISSING = "audit_months_missing"
AUDIT_NOT_SEALED = "audit_not_sealed"

UNSEALED_SECONDS = 300.0
"""So long records may wait for a seal until a process is not ready any more. A sealer needs a second."""


class Service:
    """Use it as ``async with Service.started(settings, url)``."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        batches: Pool,
        limits: Pool,
        clock: DatabaseClock,
        keys: Keys,
        audit_log: PostgresAuditLog,
    ) -> None:
        self.pool = pool
        self.settings = settings
        self.clock = clock
        self.keys = keys
        self._batches = batches
        self.api_key_store = PostgresAPIKeyStore(pool)
        self._uses = NotedUses(PostgresAPIKeyUses(pool))
        self._limits = limits
        self.api_keys = RecognisedAPIKeys(
            self.api_key_store,
            time.monotonic,
            random.SystemRandom().random,
            note_use=self._uses.note,
        )
        self._permits = LeasedPermits(PostgresPermitStore(pool), time.monotonic)
        self.directory = PostgresDeviceDirectory(pool)
        self._arrivals = PostgresArrivals(
            pool, batches, settings.bdk_kms_key_id, defaults_allowed=settings.in_development
        )
        self.audit_log = audit_log
        self._partitions = PostgresPartitions(pool, settings.max_ttl)
        self.audit_months = PostgresAuditMonths(pool)
        self._service_keys = GuardedRotatingKeys(keys.service, keys.cryptography)
        self._epoch_keys = GuardedKeys(keys.epochs, keys.cryptography)
        self._store = PostgresTokenStore(pool, batches, settings.idempotency_window)
        self._worker_limits = WorkerLimits(PostgresWorkerLedger(limits), time.monotonic)
        self.limit_metrics = LimitMetrics()
        self.device_event_metrics = DeviceEventMetrics()
        self.device_event_store = PostgresDeviceEvents(pool)
        self._noted_events = NotedDeviceEvents(
            self.device_event_store, self.device_event_metrics, time.monotonic
        )
        self._suspend_failing = suspension_of(settings, pool, audit_log, self._noted_events)
        self._device_events: DeviceEvents = self._suspend_failing or self._noted_events
        self.refused_handshakes = RefusedHandshakes(audit_log, clock, this_process())
        self.limit_refusals = LimitRefusals(audit_log, clock, self.limit_metrics.note)

    @classmethod
    @asynccontextmanager
    async def started(
        cls,
        settings: Settings,
        database_url: str,
        cryptography: CryptographyState | None = None,
    ) -> AsyncIterator[Self]:
        """Connected, self-tested, its first keys made, its clock and keys kept fresh until the block ends.

        After a failed self-test it is up all the same, is not ready, and uses no key.
        """
        async with (
            new_pool(database_url) as pool,
            new_batch_pool(database_url) as batches,
            new_limits_pool(database_url) as limits,
        ):
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with (
                repeated(clock.synchronise, SYNC_INTERVAL_SECONDS),
                opened_audit_log(database_url, pool, clock, this_process()) as audit_log,
                Keys.opened(
                    settings,
                    pool,
                    clock,
                    AuditedKeyChanges(audit_log, this_process()),
                    cryptography,
                ) as keys,
                keys.kept_fresh(),
            ):
                service = cls(settings, pool, batches, limits, clock, keys, audit_log)
                async with (
                    repeated(service.api_keys.forget_expired, FORGET_INTERVAL_SECONDS),
                    repeated(service._uses.write, WRITE_INTERVAL_SECONDS),
                    _written_to_the_last(service._noted_events),
                    looked_after(service._suspend_failing),
                ):
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
            arrivals=self._arrivals,
            decrypt_payload=DecryptPayload(
                self.keys.devices, self.keys.custodians, self.keys.cryptography
            ),
            failed_attempts=FailedAttempts(
                PostgresFailedAttempts(self.pool), settings.failed_attempts_per_ksn
            ),
            device_events=self._device_events,
            service_keys=self._service_keys,
            epoch_keys=self._epoch_keys,
            index_keys=GuardedRotatingKeys(self.keys.index, self.keys.cryptography),
            random=os.urandom,
        )
        return PublicUseCases(
            tokenise=tokenise,
            view_token=ViewToken(clock=self.clock, store=self._store),
            revoke_token=RevokeToken(store=self._store, audit_log=self.audit_log),
            api_keys=self.api_keys,
            permits=self._permits,
            device_events=self._device_events,
            recorded_events=self.device_event_store,
        )

    def device_use_cases(self) -> DeviceUseCases:
        administer = AdministerDevices(
            registry=PostgresDeviceRegistry(self.pool),
            bdks=self.directory,
            profiles=PostgresDeviceProfiles(self.pool),
            audit_log=self.audit_log,
            device_events=self._device_events,
        )
        return DeviceUseCases(administer, self.api_keys, self._permits, self._device_events)

    def internal_use_cases(self, policies: WorkerPolicyFile) -> InternalUseCases:
        release = Release(
            environment=self.settings.environment.value,
            clock=self.clock,
            store=self._store,
            audit_log=self.audit_log,
            policies=policies,
            service_keys=self._service_keys,
            epoch_keys=self._epoch_keys,
            limits=self._worker_limits,
            limit_refusals=self.limit_refusals,
            device_events=self._device_events,
        )
        complete_authorization = CompleteAuthorization(
            store=self._store,
            audit_log=self.audit_log,
            policies=policies,
            limits=self._worker_limits,
            limit_refusals=self.limit_refusals,
            device_events=self._device_events,
        )
        return InternalUseCases(release, complete_authorization)

    @property
    def signing_keys(self) -> VersionedKeys:
        """Those of the audit log."""
        return GuardedKeys(self.keys.rings[KeyPurpose.AUDIT_SIGNING], self.keys.cryptography)

    async def readiness(self) -> dict[str, str]:
        """What is not ready, by name."""
        failing = await self.readiness_to_release()
        try:
            # Maintenance keeps two weeks more than that: it has failed for as long, and creates are about to.
            if await self._partitions.missing():
                failing["partitions"] = PARTITIONS_MISSING
        except PaymentTokenError as error:
            failing["partitions"] = error.code
        return failing

    async def readiness_to_release(self) -> dict[str, str]:
        """Likewise, for a process that makes no tokens."""
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": self._check_database,
            "clock": self._check_clock,
            "key_custodian": self.keys.service.active,
            "audit": self.audit_log.check_writable,
        }
        failing = await self._audit_upkeep()
        if self.keys.cryptography.stopped:
            # No word about the custodian, whom nobody asks any more.
            del checks["key_custodian"]
            failing["cryptography"] = SELF_TEST_FAILED
        for name, check in checks.items():
            try:
                await check()
            except PaymentTokenError as error:
                failing[name] = error.code
        return failing

    async def _audit_upkeep(self) -> dict[str, str]:
        """What others have to do for the audit log, and have not."""
        failing = {}
        try:
            # Maintenance makes a year of them: it has failed for as long, and the releases of next month are about to.
            if await self.audit_months.ahead() < 1:
                failing["audit_months"] = AUDIT_MONTHS_MISSING
            if await self.audit_log.seal_lag.seconds() > UNSEALED_SECONDS:
                failing["audit_seals"] = AUDIT_NOT_SEALED
        except PaymentTokenError as error:
            failing["audit"] = error.code
        return failing

    async def _check_database(self) -> None:
        await self.clock.synchronise()
        # One that is found dead is replaced, so that whoever is told "ready" does not meet it.
        await self._batches.check()
        await self._limits.check()

    async def _check_clock(self) -> None:
        self.clock.now()


@asynccontextmanager
async def _written_to_the_last(events: NotedDeviceEvents) -> AsyncIterator[None]:
    """While the block runs, and what is left when it ends."""
    try:
        async with repeated(events.write, EVENTS_INTERVAL_SECONDS):
            yield
    finally:
        await events.write()
