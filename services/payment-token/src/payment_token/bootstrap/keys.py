"""The keys of one process: their custodians and the keyrings."""

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from payment_token.bootstrap.background import repeated
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.errors import (
    EncryptionKeyOverdueError,
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.first_keys import FirstKeys
from payment_token.domain.key_life.history import KeyHistory
from payment_token.domain.key_life.version import KeyPurpose, KeyState
from payment_token.domain.ports import Clock
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.self_test.custodians import KEKProofs
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.epoch_keys import PostgresEpochKeys
from payment_token.infrastructure.database.key_holders import PostgresKeyHolders
from payment_token.infrastructure.database.key_versions import PostgresKeyVersions
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.keyring import Keyring
from payment_token.infrastructure.sad_epoch_keyring import (
    REFRESH_SECONDS,
    SADEpochKeyring,
)
from payment_token.settings import ConfigurationError, Settings

logger = logging.getLogger(__name__)

FORGET_INTERVAL_SECONDS = 30.0
PROVE_INTERVAL_SECONDS = 60.0


class Keys:
    """Opened within an event loop; ``async with keys.kept_fresh()`` for a process that serves."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        clock: Clock,
        changes: AuditedKeyChanges,
        cryptography: CryptographyState | None = None,
    ) -> None:
        self.changes = changes
        environment = settings.environment.value
        self._settings = settings
        self.clock = clock
        self.environment = environment
        self.cryptoperiod = settings.cryptoperiod
        self.custodians = Custodians(settings, cryptography)
        self.cryptography = self.custodians.cryptography
        self.versions = PostgresKeyVersions(pool)
        self.epoch_store = PostgresEpochKeys(pool)
        self.holders = PostgresKeyHolders(pool)
        self.rings = {
            purpose: Keyring(
                purpose,
                self.versions,
                self.custodians,
                clock,
                environment,
                self.cryptoperiod,
            )
            for purpose in KeyPurpose
        }
        self.service = self.rings[KeyPurpose.SERVICE]
        self.index = self.rings[KeyPurpose.INDEX]
        self.epochs = SADEpochKeyring(
            self.epoch_store,
            self.custodians,
            clock,
            kek_uri=self._kek_of_active_service_key,
            environment=environment,
            sad_ttl=settings.sad_ttl,
            epoch=settings.sad_epoch,
        )
        self.devices = DeviceKeys(
            self.custodians,
            time.monotonic,
            random.SystemRandom().random,
            limit=settings.device_key_cache_size,
            age_seconds=settings.device_key_cache_seconds,
        )
        self._usable: list[str] = []
        self.kek_proofs = KEKProofs(self.custodians, self.cryptography, environment)
        self.history = KeyHistory(clock, self.rings[KeyPurpose.AUDIT_SIGNING], changes)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        settings: Settings,
        pool: Pool,
        clock: Clock,
        changes: AuditedKeyChanges,
        cryptography: CryptographyState | None = None,
    ) -> AsyncIterator[Self]:
        """``cryptography`` is that of self-tests which were asked before; without it they are asked now."""
        keys = cls(settings, pool, clock, changes, cryptography)
        try:
            yield keys
        finally:
            keys.custodians.close()

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Makes the first versions of a new deployment where it may; then holds a lease on the keys until the block ends.

        A process whose self-test failed holds no key, and no rotation waits for it.
        """
        if self.cryptography.stopped:
            yield
            return
        await self.make_first()
        await self._open_now()
        await self._prove_keks()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.holders.end)
            for work, seconds in (
                (self.refresh, REFRESH_SECONDS),
                (self._renew_lease, REFRESH_SECONDS),
                (self.epochs.refresh, REFRESH_SECONDS),
                (self.epochs.remove_dead, REFRESH_SECONDS),
                (self._forget_expired, FORGET_INTERVAL_SECONDS),
                (self._prove_keks, PROVE_INTERVAL_SECONDS),
            ):
                await stack.enter_async_context(repeated(work, seconds))
            yield

    async def make_first(self) -> None:
        """Does nothing where there are keys. Raises KeyLifeError where this login may not make them."""
        first = FirstKeys(
            versions=self.versions,
            encrypter=self.custodians,
            clock=self.clock,
            changes=self.changes,
            environment=self.environment,
        )
        await first(self._settings.current_key_version, self.kek_uri)

    async def _open_now(self) -> None:
        await self.refresh()
        try:
            await self.epochs.refresh()
            for ring in (self.service, self.index):
                await ring.active()
        except KeyCustodianRefusedError:
            # Waiting does not help: the configuration, the key or a permission is wrong.
            raise
        except (
            KeyCustodianUnavailableError,
            EncryptionKeyOverdueError,
            RecordIntegrityFailureError,
        ) as error:
            # The process starts, is not ready, says why, and recovers by itself, or releases what it still can.
            logger.error("not all keys can be used", extra={"code": error.code})

    async def refresh(self) -> None:
        self._usable = [
            f"{purpose}:{version}"
            for purpose, ring in self.rings.items()
            for version in await ring.refresh()
        ]
        await self._renew_lease()

    async def _renew_lease(self) -> None:
        # By itself too: a custodian that is slow must not let the lease of a process that works lapse.
        await self.holders.renew(self._usable)

    @property
    def kek_uri(self) -> str:
        """The KEK of the first versions. Raises ConfigurationError where none is named."""
        if self._settings.service_kms_key_id is None:
            raise ConfigurationError(
                "SERVICE_KMS_KEY_ID is required: it names the key that wraps the service's keys."
                " In development, `payment-token dev init` sets everything up."
            )
        return self._settings.service_kms_key_id

    async def _kek_of_active_service_key(self) -> str:
        # Asked about once an epoch, and anew: what was active a moment ago may be on its way to destruction.
        self.service.forget_active()
        return (await self.service.active_version()).kek_uri

    async def _prove_keks(self) -> None:
        # Each once: at start, or when its custodian is back, or when a rotation brought it.
        await self.kek_proofs(
            version.kek_uri
            for version in await self.versions.all()
            if version.state is KeyState.ACTIVE
        )

    async def _forget_expired(self) -> None:
        self.devices.forget_expired()
