"""The transaction keys of terminals, with a bounded memory of where each terminal's key tree stands.

Derived keys exist in memory only, bounded in number and age. A terminal's counter moves on by one or two, so its next
key is one or two steps from the last one; without this, every payload would cost a call to the custodian and a walk
from the root.
"""

from collections import OrderedDict
from collections.abc import Callable

from payment_token.domain.dukpt import KSN, DerivationPath
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.ports import InitialKeys
from payment_token.domain.sensitive import SecretKey


class DeviceKeys:
    """For use from one event loop. ``monotonic`` gives seconds."""

    def __init__(
        self,
        initial_keys: InitialKeys,
        monotonic: Callable[[], float],
        *,
        limit: int = 10_000,
        age_seconds: float = 300,
    ) -> None:
        self._initial_keys = initial_keys
        self._monotonic = monotonic
        self._limit = limit
        self._age_seconds = age_seconds
        self._paths: OrderedDict[tuple[str, bytes], tuple[DerivationPath, float]] = OrderedDict()

    async def transaction_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        """Raises KeyCustodianUnavailableError for a terminal that is not in memory while the custodian is away."""
        name = (bdk.bdk_id, ksn.initial_key_id)
        path = self._remembered(name)
        if path is None:
            path = DerivationPath(ksn.scheme, await self._initial_keys.initial_key(bdk, ksn))
            self._remember(name, path)
        return path.transaction_key(ksn)

    def forget_expired(self) -> None:
        """Drops what is past its age, also of terminals that never come back; called every now and then."""
        now = self._monotonic()
        for name in [name for name, (_, until) in self._paths.items() if now >= until]:
            del self._paths[name]

    def _remembered(self, name: tuple[str, bytes]) -> DerivationPath | None:
        path, until = self._paths.get(name, (None, 0.0))
        if path is not None and self._monotonic() < until:
            self._paths.move_to_end(name)
            return path
        self._paths.pop(name, None)
        return None

    def _remember(self, name: tuple[str, bytes], path: DerivationPath) -> None:
        self._paths[name] = (path, self._monotonic() + self._age_seconds)
        while len(self._paths) > self._limit:
            self._paths.popitem(last=False)
