"""Service and index keys: wrapped in the database, clear in memory for a bounded time."""

import time
from dataclasses import dataclass

from payment_token.domain.errors import EncryptionKeyOverdueError
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import KeyEncrypter
from payment_token.infrastructure.database.wrapped_keys import PostgresWrappedKeys, WrappedKey

AGE_SECONDS = 300.0

# How long another process may go on sealing under a version after it stopped being the active one. The store refuses
# such a record in the same transaction, so this bounds wasted work, not safety.
_ACTIVE_AGE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Held:
    key: NamedKey
    until: float


class Keyring:
    """The versions of one purpose (``service`` or ``index``). Meets the port ServiceKeys; for one event loop."""

    def __init__(
        self, purpose: str, keys: PostgresWrappedKeys, encrypter: KeyEncrypter, environment: str
    ) -> None:
        self._purpose = purpose
        self._keys = keys
        self._encrypter = encrypter
        self._environment = environment
        self._held: dict[str, _Held] = {}
        self._active: _Held | None = None

    async def ensure_first(self, version: str, kek_uri: str) -> None:
        """Makes the first version of a new deployment; does nothing where there is one."""
        if await self._keys.active(self._purpose) is not None:
            return
        _, wrapped = await self._encrypter.generate_key(kek_uri, self._context(version))
        await self._keys.add_first(
            WrappedKey(self._purpose, version, "active", kek_uri, wrapped, self._environment)
        )

    async def active(self) -> NamedKey:
        if self._active is None or time.monotonic() >= self._active.until:
            wrapped = await self._keys.active(self._purpose)
            if wrapped is None:
                raise EncryptionKeyOverdueError
            key = await self._unwrapped(wrapped)
            self._active = _Held(key, time.monotonic() + _ACTIVE_AGE_SECONDS)
        return self._active.key

    async def named(self, name: str) -> NamedKey | None:
        held = self._held.get(name)
        if held is not None and time.monotonic() < held.until:
            return held.key
        wrapped = await self._keys.named(self._purpose, name)
        if wrapped is None:
            self._held.pop(name, None)
            return None
        return await self._unwrapped(wrapped)

    def forget_expired(self) -> None:
        """Drops clear keys that are past their age; called every now and then."""
        now = time.monotonic()
        self._held = {name: held for name, held in self._held.items() if now < held.until}

    def forget_active(self) -> None:
        self._active = None

    async def _unwrapped(self, wrapped: WrappedKey) -> NamedKey:
        held = self._held.get(wrapped.version)
        if held is not None and time.monotonic() < held.until:
            return held.key
        clear = await self._encrypter.unwrap_key(
            wrapped.kms_key_id, wrapped.wrapped_key, self._context(wrapped.version)
        )
        key = NamedKey(wrapped.version, clear)
        self._held[wrapped.version] = _Held(key, time.monotonic() + AGE_SECONDS)
        return key

    def _context(self, version: str) -> dict[str, str]:
        # Bound by the KEK, so that a wrapped key of another version, purpose or environment does not unwrap.
        return {
            "service": "payment-token",
            "purpose": self._purpose,
            "version": version,
            "environment": self._environment,
        }
