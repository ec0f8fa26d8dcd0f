"""The short-lived keys above SAD: one an epoch, in memory and in an UNLOGGED table.

An epoch key dies at the end of its epoch plus the longest life of SAD, in the table and here, and with it every copy
of the SAD that it protected, backups included. A crash of the database empties the table (it is UNLOGGED); whichever
process still holds a key writes it back.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from payment_token.domain.errors import (
    DatabaseUnavailableError,
    KeyCustodianRefusedError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.version import key_context
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.database.epoch_keys import (
    PostgresEpochKeys,
    WrappedEpochKey,
    epoch_of,
)

logger = logging.getLogger(__name__)

PURPOSE = "sad-epoch"
REFRESH_SECONDS = 1.0

# After a crash of the database other processes write their keys back within one refresh; wait for two.
_PATIENCE_SECONDS = 2 * REFRESH_SECONDS

# How long a key that its custodian refuses is left alone.
_REFUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Held:
    """``dies_at`` on the monotonic clock, so that a key dies on time while the database's clock is not known."""

    wrapped: WrappedEpochKey
    key: NamedKey
    dies_at: float


class SADEpochKeyring:
    """Meets the port VersionedKeys; for one event loop. ``refresh`` is called about every second."""

    def __init__(
        self,
        keys: PostgresEpochKeys,
        encrypter: KeyEncrypter,
        clock: Clock,
        *,
        kek_uri: Callable[[], Awaitable[str]],
        environment: str,
        sad_ttl: timedelta,
        epoch: timedelta,
    ) -> None:
        """``kek_uri`` gives the KEK for new epoch keys: that of the active service key, so that it rotates with it."""
        self._keys = keys
        self._encrypter = encrypter
        self._clock = clock
        self._kek_uri = kek_uri
        self._environment = environment
        self._sad_ttl = sad_ttl
        self._epoch = epoch
        self._held: dict[str, _Held] = {}
        self._refused: dict[WrappedEpochKey, float] = {}
        self._making = asyncio.Lock()
        self._refreshing = asyncio.Lock()

    async def active(self) -> NamedKey:
        key = self._of_this_epoch()
        if key is not None:
            return key
        # One at a time: whoever waited finds what the first one made.
        async with self._making:
            key = self._of_this_epoch()
            if key is None:
                await self.refresh()
                key = self._of_this_epoch() or await self._make()
        return key

    async def named(self, name: str) -> NamedKey | None:
        held = self._held.get(name)
        if held is not None and not self._is_dead(held):
            return held.key
        self._bury()
        if name not in self._held:
            await self.refresh()
        if name not in self._held:
            await asyncio.sleep(_PATIENCE_SECONDS)
            await self.refresh()
        return self._held[name].key if name in self._held else None

    async def refresh(self) -> None:
        """Learns the keys of other processes, writes back those that the table lost, and forgets the dead."""
        async with self._refreshing:
            # First, and whatever the database does: a dead key must not outlive its hour because of an outage.
            self._bury()
            stored = await self._keys.live()
            for wrapped in stored:
                await self._compare(wrapped)
            self._bury()
            names = {wrapped.epoch_key_id for wrapped in stored}
            for name, held in list(self._held.items()):
                if name not in names:
                    await self._keys.add(held.wrapped)

    async def remove_dead(self) -> None:
        """From the table. For the background alone: no request waits for whoever reads the table just now."""
        await self._keys.remove_dead()

    async def _compare(self, wrapped: WrappedEpochKey) -> None:
        held = self._held.get(wrapped.epoch_key_id)
        if held is None:
            if time.monotonic() >= self._refused.get(wrapped, 0.0):
                await self._learn(wrapped)
        elif wrapped != held.wrapped and wrapped.dies_at == held.wrapped.dies_at:
            # Moved under another KEK. What is written back after a crash must be under that one.
            self._held[wrapped.epoch_key_id] = replace(held, wrapped=wrapped)

    async def _learn(self, wrapped: WrappedEpochKey) -> None:
        name = wrapped.epoch_key_id
        try:
            clear = await self._encrypter.unwrap_key(
                wrapped.kms_key_id, wrapped.wrapped_key, self._context(name)
            )
        except (RecordIntegrityFailureError, KeyCustodianRefusedError):
            # A row that somebody changed, or whose KEK is gone, must not keep the service from its other keys.
            self._refused[wrapped] = time.monotonic() + _REFUSED_SECONDS
            logger.critical("an epoch key does not unwrap", extra={"epoch_key": name})
        else:
            self._hold(wrapped, clear)

    def _of_this_epoch(self) -> NamedKey | None:
        now = self._clock.now()
        # A key that was made when SAD lived shorter would die before what it is to protect.
        current = [
            held
            for held in self._held.values()
            if held.wrapped.starts_at <= now < held.wrapped.ends_at
            and now + self._sad_ttl <= held.wrapped.dies_at
        ]
        # Two processes may both have made one; all settle on the same.
        return min(current, key=lambda held: held.wrapped.epoch_key_id).key if current else None

    async def _make(self) -> NamedKey:
        starts_at, ends_at = epoch_of(self._clock.now(), self._epoch)
        name = f"{starts_at:%Y%m%dT%H%MZ}-{secrets.token_hex(8)}"
        kek_uri = await self._kek_uri()
        clear, wrapped_key = await self._encrypter.generate_key(kek_uri, self._context(name))
        wrapped = WrappedEpochKey(
            name,
            kek_uri,
            wrapped_key,
            self._environment,
            starts_at,
            ends_at,
            ends_at + self._sad_ttl,
        )
        await self._keys.add(wrapped)
        return self._hold(wrapped, clear)

    def _hold(self, wrapped: WrappedEpochKey, clear: SecretKey) -> NamedKey:
        key = NamedKey(wrapped.epoch_key_id, clear)
        left = (wrapped.dies_at - self._clock.now()).total_seconds()
        self._held[key.name] = _Held(wrapped, key, time.monotonic() + left)
        return key

    def _bury(self) -> None:
        for name in [name for name, held in self._held.items() if self._is_dead(held)]:
            self._held.pop(name).key.key.wipe()
        now = time.monotonic()
        self._refused = {wrapped: until for wrapped, until in self._refused.items() if now < until}

    def _is_dead(self, held: _Held) -> bool:
        if time.monotonic() >= held.dies_at:
            return True
        try:
            return self._clock.now() >= held.wrapped.dies_at
        except DatabaseUnavailableError:
            return False

    def _context(self, name: str) -> dict[str, str]:
        return key_context(PURPOSE, name, self._environment)


class EpochKeyMover:
    """Meets the port EpochKeysOfKEK. The running processes learn of the move with their next refresh."""

    def __init__(self, keys: PostgresEpochKeys, encrypter: KeyEncrypter, environment: str) -> None:
        self._keys = keys
        self._encrypter = encrypter
        self._environment = environment

    async def move_from(self, kek_uri: str, to_uri: str) -> None:
        found = [key for key in await self._keys.live() if key.kms_key_id == kek_uri]
        for key in found:
            context = key_context(PURPOSE, key.epoch_key_id, self._environment)
            clear = await self._encrypter.unwrap_key(kek_uri, key.wrapped_key, context)
            wrapped = await self._encrypter.wrap_key(to_uri, clear, context)
            clear.wipe()
            await self._keys.move(replace(key, kms_key_id=to_uri, wrapped_key=wrapped))
