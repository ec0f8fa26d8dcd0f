"""The keys of terminals, with a bounded memory of where each terminal's key tree stands.

Derived keys exist in memory only, bounded in number and age. A terminal's counter moves on by one or two, so its next
key is one or two steps from the last one; without this, every payload would cost a call to the custodian and a walk
from the root. Once a terminal is known, the custodian is asked at most once for each time that its key falls due.
"""

from collections.abc import Callable

from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.dukpt import KSN, DerivationPath
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.expiring_cache import ExpiringCache
from payment_token.domain.ports import InitialKeys
from payment_token.domain.sensitive import SecretKey

DEFAULT_LIMIT = 10_000
DEFAULT_AGE_SECONDS = 300.0


class DeviceKeys:
    """For use from one event loop. ``monotonic`` gives seconds, ``random`` a number from 0 to 1."""

    def __init__(
        self,
        initial_keys: InitialKeys,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        *,
        limit: int = DEFAULT_LIMIT,
        age_seconds: float = DEFAULT_AGE_SECONDS,
    ) -> None:
        self._initial_keys = initial_keys
        self._held: ExpiringCache[tuple[str, bytes], DerivationPath | SecretKey] = ExpiringCache(
            monotonic, random, _wipe, limit=limit, age_seconds=age_seconds
        )

    async def transaction_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        """Raises KeyCustodianUnavailableError for a terminal that is not in memory while the custodian is away."""

        async def make() -> DerivationPath:
            return DerivationPath(ksn.scheme, await self._initial_keys.initial_key(bdk, ksn))

        path = await self._held.get((bdk.bdk_id, ksn.initial_key_id), make)
        if not isinstance(path, DerivationPath):
            raise TypeError("a BDK serves one derivation scheme")
        return path.transaction_key(ksn)

    async def aead_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        """The 32-byte key of a ``device-aead`` terminal. Raises as above."""

        async def make() -> SecretKey:
            return await self._initial_keys.device_key(bdk, name)

        key = await self._held.get((bdk.bdk_id, name.initial_key_id), make)
        if not isinstance(key, SecretKey):
            raise TypeError("a BDK serves one derivation scheme")
        return key

    def forget_expired(self) -> None:
        """Called every now and then."""
        self._held.forget_expired()


def _wipe(held: DerivationPath | SecretKey) -> None:
    held.wipe()
