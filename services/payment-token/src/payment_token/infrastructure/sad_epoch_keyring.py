"""The short-lived keys above SAD: one an hour, in memory and in a table that no backup ever sees.

An epoch key dies at the end of its epoch plus the longest life of SAD, in the table and here, and with it every copy
of the SAD that it protected, backups included. A crash of the database empties the table (it is UNLOGGED); whichever
process still holds a key writes it back.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import Clock, KeyEncrypter
from payment_token.infrastructure.database.wrapped_keys import (
    PostgresEpochKeys,
    WrappedEpochKey,
    epoch_of,
)

logger = logging.getLogger(__name__)

EPOCH = timedelta(hours=1)
REFRESH_SECONDS = 1.0

# After a crash of the database other processes write their keys back within one refresh; wait for two.
_PATIENCE_SECONDS = 2 * REFRESH_SECONDS


@dataclass(frozen=True, slots=True)
class _Held:
    wrapped: WrappedEpochKey
    key: NamedKey


class SADEpochKeyring:
    """Meets the port VersionedKeys; for one event loop. ``refresh`` is called about every second."""

    def __init__(
        self,
        keys: PostgresEpochKeys,
        encrypter: KeyEncrypter,
        clock: Clock,
        *,
        kek_uri: str,
        environment: str,
        sad_ttl: timedelta,
    ) -> None:
        self._keys = keys
        self._encrypter = encrypter
        self._clock = clock
        self._kek_uri = kek_uri
        self._environment = environment
        self._sad_ttl = sad_ttl
        self._held: dict[str, _Held] = {}
        self._making = asyncio.Lock()

    async def active(self) -> NamedKey:
        async with self._making:
            key = self._of_this_epoch()
            if key is None:
                await self.refresh()
                key = self._of_this_epoch() or await self._make()
        return key

    async def named(self, name: str) -> NamedKey | None:
        self._bury()
        if name not in self._held:
            await self.refresh()
        if name not in self._held:
            await asyncio.sleep(_PATIENCE_SECONDS)
            await self.refresh()
        return self._held[name].key if name in self._held else None

    async def refresh(self) -> None:
        """Learns the keys of other processes, writes back those that the table lost, and forgets the dead."""
        stored = await self._keys.live()
        for wrapped in stored:
            if wrapped.epoch_key_id not in self._held:
                await self._learn(wrapped)
        self._bury()
        names = {wrapped.epoch_key_id for wrapped in stored}
        for name, held in self._held.items():
            if name not in names:
                await self._keys.add(held.wrapped)

    async def _learn(self, wrapped: WrappedEpochKey) -> None:
        name = wrapped.epoch_key_id
        try:
            clear = await self._encrypter.unwrap_key(
                wrapped.kms_key_id, wrapped.wrapped_key, self._context(name)
            )
        except RecordIntegrityFailureError:
            # A row that somebody changed must not keep the service from its other keys.
            logger.critical("an epoch key does not unwrap", extra={"epoch_key": name})
        else:
            self._held[name] = _Held(wrapped, NamedKey(name, clear))

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
        starts_at, ends_at = epoch_of(self._clock.now(), EPOCH)
        name = f"{starts_at:%Y%m%dT%H%MZ}-{secrets.token_hex(8)}"
        clear, wrapped_key = await self._encrypter.generate_key(self._kek_uri, self._context(name))
        wrapped = WrappedEpochKey(
            name,
            self._kek_uri,
            wrapped_key,
            self._environment,
            starts_at,
            ends_at,
            ends_at + self._sad_ttl,
        )
        await self._keys.add(wrapped)
        self._held[name] = _Held(wrapped, NamedKey(name, clear))
        return self._held[name].key

    def _bury(self) -> None:
        now = self._clock.now()
        self._held = {name: held for name, held in self._held.items() if now < held.wrapped.dies_at}

    def _context(self, name: str) -> dict[str, str]:
        return {
            "service": "payment-token",
            "purpose": "sad-epoch",
            "version": name,
            "environment": self._environment,
        }
