"""Where one terminal's key tree stands, so that its next key is a step or two away.

The key of a counter is reached through the counters with its one-bits added one by one, the highest first. The next
counter shares most of them, so the intermediate keys along the last path are kept: at most 10 (TDES) or 16 (AES).
"""

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import aes, tdes
from payment_token.domain.dukpt.ksn import KSN
from payment_token.domain.sensitive import SecretKey

_TDES_KEY_BYTES = 16


class DerivationPath:
    """For one initial key, and for one thread at a time."""

    __slots__ = ("_initial_key", "_keys", "_reached", "_scheme")

    def __init__(self, scheme: Scheme, initial_key: SecretKey) -> None:
        self._scheme = scheme
        self._initial_key = initial_key
        # The counter that each key of the last path belongs to, and the keys.
        self._reached: list[int] = []
        self._keys: list[SecretKey] = []

    def transaction_key(self, ksn: KSN) -> SecretKey:
        """The same key as a walk from the initial key gives. The KSN must be of this initial key.

        It is the caller's own: what is kept here is wiped as soon as it leads nowhere.
        """
        if ksn.scheme is not self._scheme:
            raise ValueError("the KSN is of another scheme")
        counter = ksn.counter
        self._drop_what_leads_elsewhere(counter)
        reached = self._reached[-1] if self._reached else 0
        key = self._keys[-1] if self._keys else self._initial_key
        remaining = counter ^ reached
        while remaining:
            bit = 1 << (remaining.bit_length() - 1)
            remaining ^= bit
            reached |= bit
            key = self._next_key(key, ksn, reached)
            self._reached.append(reached)
            self._keys.append(key)
        return SecretKey(key.reveal())

    def wipe(self) -> None:
        """Overwrites its keys; it gives none afterwards."""
        for key in (self._initial_key, *self._keys):
            key.wipe()

    def _drop_what_leads_elsewhere(self, counter: int) -> None:
        # A kept key lies on the way when its counter is the high part of this one: the same bits down to its lowest.
        while self._reached:
            reached = self._reached[-1]
            lowest = reached & -reached
            if counter & ~(lowest - 1) == reached:
                return
            self._reached.pop()
            self._keys.pop().wipe()

    def _next_key(self, key: SecretKey, ksn: KSN, reached: int) -> SecretKey:
        if self._scheme is Scheme.DUKPT_AES:
            return SecretKey(aes.next_key(key.reveal(), ksn.initial_key_id, reached))
        number = tdes.next_key(
            int.from_bytes(key.reveal(), "big"), int.from_bytes(ksn.initial_key_id, "big"), reached
        )
        return SecretKey(number.to_bytes(_TDES_KEY_BYTES, "big"))
