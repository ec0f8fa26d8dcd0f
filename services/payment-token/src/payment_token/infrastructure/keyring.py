"""The versions of one key: wrapped in the database, clear in memory for a bounded time."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_token.domain.errors import (
    EncryptionKeyOverdueError,
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.cryptoperiod import Cryptoperiod
from payment_token.domain.key_life.key_event import public_key_of
from payment_token.domain.key_life.version import KeyPurpose, KeyState, KeyVersion
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.database.key_versions import PostgresKeyVersions

logger = logging.getLogger(__name__)

AGE_SECONDS = 300.0

# A clear key is unwrapped anew this long before its age is up, away from any request. While the custodian is away the
# keys in memory go on to the end of their age.
_AHEAD_SECONDS = 60.0

# How long another process may go on sealing under a version after it stopped being the active one. The store refuses
# such a record in the same transaction, so this bounds wasted work, not safety.
_ACTIVE_AGE_SECONDS = 5.0

_WIPE_DELAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Held:
    key: NamedKey
    wrapped: bytes
    until: float


@dataclass(frozen=True, slots=True)
class _Active:
    version: KeyVersion
    seen_at: float


class Keyring:
    """Meets the port RotatingKeys; for one event loop. ``refresh`` is called about every second."""

    def __init__(
        self,
        purpose: KeyPurpose,
        versions: PostgresKeyVersions,
        encrypter: KeyEncrypter,
        clock: Clock,
        environment: str,
        cryptoperiod: Cryptoperiod,
    ) -> None:
        self._purpose = purpose
        self._versions = versions
        self._encrypter = encrypter
        self._clock = clock
        self._environment = environment
        self._cryptoperiod = cryptoperiod
        self._held: dict[str, _Held] = {}
        self._active: _Active | None = None
        self._unwrapping = asyncio.Lock()
        self._ended: deque[tuple[NamedKey, float]] = deque()
        self._warned: tuple[str, int] | None = None
        self._alarmed: set[tuple[str, bytes]] = set()

    async def active(self) -> NamedKey:
        version = await self.active_version()
        if self._is_closed(version):
            # It may have been rotated a moment ago.
            self.forget_active()
            version = await self.active_version()
            if self._is_closed(version):
                raise EncryptionKeyOverdueError
        return await self._clear(version)

    async def active_version(self) -> KeyVersion:
        """Raises EncryptionKeyOverdueError when there is none."""
        active = self._active
        if active is None or time.monotonic() >= active.seen_at + _ACTIVE_AGE_SECONDS:
            self._see(await self._versions.all(self._purpose))
            active = self._active
        if active is None:
            raise EncryptionKeyOverdueError
        return active.version

    async def named(self, name: str) -> NamedKey | None:
        key = self._in_memory(name)
        if key is not None:
            return key
        for version in await self._versions.all(self._purpose):
            if version.version == name and version.state.opens:
                return await self._clear(version)
        self._forget(name)
        return None

    async def opening(self) -> Mapping[str, NamedKey]:
        keys = {}
        for version in await self._versions.all(self._purpose):
            if version.state.opens:
                try:
                    keys[version.version] = await self._clear(version)
                except (KeyCustodianRefusedError, RecordIntegrityFailureError):
                    # Its KEK is lost. What is under it stays; the rest must not stay with it.
                    continue
        return keys

    def forget_active(self) -> None:
        self._active = None

    async def refresh(self) -> list[str]:
        """Learns new versions, forgets ended ones, and keeps clear keys fresh. Returns the names that are usable."""
        versions = await self._versions.all(self._purpose)
        self._see(versions)
        usable = []
        for version in versions:
            if not version.state.opens:
                self._forget(version.version)
            elif await self._keep_fresh(version):
                usable.append(version.version)
        self._warn()
        self._wipe_ended()
        return usable

    def _see(self, versions: Sequence[KeyVersion]) -> None:
        now = time.monotonic()
        active = [version for version in versions if version.state is KeyState.ACTIVE]
        self._active = _Active(active[0], now) if active else None

    async def _keep_fresh(self, version: KeyVersion) -> bool:
        held = self._held.get(version.version)
        now = time.monotonic()
        if (
            held is not None
            and held.wrapped == version.wrapped_key
            and now < held.until - _AHEAD_SECONDS
        ):
            return True
        try:
            await self._unwrap(version)
        except (KeyCustodianUnavailableError, RecordIntegrityFailureError):
            if held is None or now >= held.until:
                self._forget(version.version)
                return False
        return True

    async def _clear(self, version: KeyVersion) -> NamedKey:
        key = self._in_memory(version.version)
        if key is not None:
            return key
        # One at a time: whoever waited finds what the first one brought.
        async with self._unwrapping:
            return self._in_memory(version.version) or await self._unwrap(version)

    def _in_memory(self, name: str) -> NamedKey | None:
        held = self._held.get(name)
        return held.key if held is not None and time.monotonic() < held.until else None

    async def _unwrap(self, version: KeyVersion) -> NamedKey:
        wrapped = version.wrapped_key or b""
        clear = None
        if version.environment == self._environment:
            try:
                clear = await self._encrypter.unwrap_key(version.kek_uri, wrapped, version.context)
            except RecordIntegrityFailureError:
                pass
        if clear is None or not _fits_public_key(version, clear):
            # Somebody exchanged wrapped keys, or brought them from another environment. Operators must hear of it.
            if (version.version, wrapped) not in self._alarmed:
                self._alarmed.add((version.version, wrapped))
                logger.critical(
                    "a wrapped key is not the one of its row",
                    extra={"purpose": self._purpose, "version": version.version},
                )
            raise RecordIntegrityFailureError
        key = NamedKey(version.version, clear)
        self._forget(version.version)
        self._held[version.version] = _Held(key, wrapped, time.monotonic() + AGE_SECONDS)
        return key

    def _forget(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._ended.append((held.key, time.monotonic()))

    def _wipe_ended(self) -> None:
        # Not at once: a request may still be at work with it.
        now = time.monotonic()
        while self._ended and now >= self._ended[0][1] + _WIPE_DELAY_SECONDS:
            self._ended.popleft()[0].key.wipe()

    def _is_closed(self, version: KeyVersion) -> bool:
        closes_at = self._cryptoperiod.closes_at(_activated_at(version))
        return self._purpose.closes and self._clock.now() >= closes_at

    def _warn(self) -> None:
        if self._active is None:
            return
        version = self._active.version
        days = self._cryptoperiod.warning_days(_activated_at(version), self._clock.now())
        if days is None or self._warned == (version.version, days):
            return
        self._warned = (version.version, days)
        logger.warning(
            "a key is due for rotation: run `payment-token keys rotate`",
            extra={"purpose": self._purpose, "version": version.version, "days_left": days},
        )


def _fits_public_key(version: KeyVersion, clear: SecretKey) -> bool:
    # Else whoever may write the table could sign a history of their own.
    return version.public_key in (None, public_key_of(NamedKey(version.version, clear)))


def _activated_at(version: KeyVersion) -> datetime:
    if version.activated_at is None:
        raise RecordIntegrityFailureError
    return version.activated_at
