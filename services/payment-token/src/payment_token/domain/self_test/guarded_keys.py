"""Keys that are in memory, out of reach once a self-test has failed."""

from collections.abc import Mapping

from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import RotatingKeys, VersionedKeys
from payment_token.domain.self_test.cryptography_state import CryptographyState


class GuardedKeys:
    """Meets the port VersionedKeys. Each method raises SelfTestFailedError, too."""

    def __init__(self, keys: VersionedKeys, state: CryptographyState) -> None:
        self._keys = keys
        self._state = state

    async def active(self) -> NamedKey:
        self._state.check()
        return await self._keys.active()

    async def named(self, name: str) -> NamedKey | None:
        self._state.check()
        return await self._keys.named(name)


class GuardedRotatingKeys(GuardedKeys):
    """Meets the port RotatingKeys."""

    def __init__(self, keys: RotatingKeys, state: CryptographyState) -> None:
        super().__init__(keys, state)
        self._rotating = keys

    async def opening(self) -> Mapping[str, NamedKey]:
        self._state.check()
        return await self._rotating.opening()

    def forget_active(self) -> None:
        self._rotating.forget_active()
