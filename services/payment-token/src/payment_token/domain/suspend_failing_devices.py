"""A terminal whose payloads keep failing to decrypt is suspended, where the operator has set after how many in how long.

1. a failure is counted against the terminal that the request names, if it is registered and may send
2. only when the KSN's initial key is that terminal's; or, while none is bound to it, not known to be another's
3. the counts of all processes are added up in the database
4. at the limit the terminal is suspended, on record, once; and an event says so

So nobody can have a terminal of another merchant suspended, nor one by a KSN that is not its own. Who holds an API key of the
merchant, and knows a terminal's id and its KSN, which travels in clear, can: that is the price of the rule, and why it is off
unless it is set.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind, DeviceEvents
from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.errors import BadKSNError, PaymentTokenError
from payment_token.domain.identifiers import DeviceId, MerchantId

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

# A caller could claim another terminal with each request.
_MOST_UNCOUNTED = 2_000

_AES_KSN_DIGITS = 24


@dataclass(frozen=True, slots=True)
class SuspensionRule:
    """So many failures of one terminal within so many seconds."""

    failures: int
    seconds: int


class FailingDevice(NamedTuple):
    merchant_id: MerchantId
    device_id: DeviceId


class Failure(NamedTuple):
    """As the request claims it. ``initial_key_id`` is ``None`` for a payload whose key is the device's by its name."""

    device: FailingDevice
    initial_key_id: bytes | None


class CountedFailures(Protocol):
    async def count(
        self, failures: Mapping[Failure, int], rule: SuspensionRule
    ) -> Sequence[FailingDevice]:
        """Adds up those that count. Returns the terminals among them that have reached the limit, in all processes together.

        Raises DatabaseUnavailableError.
        """
        ...


class Suspend(Protocol):
    async def suspend(self, merchant_id: MerchantId, device_id: DeviceId, reason: str) -> bool:
        """Suspends it once that is on record. ``False`` for one that somebody else has stopped, or is about to.

        Raises AuditUnavailableError, DatabaseUnavailableError.
        """
        ...


class SuspendFailingDevices:
    """For one event loop. It hears of every event before it goes on to ``events``; :meth:`look` is to be called often."""

    def __init__(
        self,
        events: DeviceEvents,
        counted: CountedFailures,
        suspend: Suspend,
        rule: SuspensionRule,
    ) -> None:
        self._events = events
        self._counted = counted
        self._suspend = suspend
        self._rule = rule
        self._uncounted: Counter[Failure] = Counter()
        self._due: dict[FailingDevice, None] = {}

    async def note(self, event: DeviceEvent) -> None:
        if event.kind is DeviceEventKind.DECRYPTION_FAILED:
            failure = Failure(
                FailingDevice(event.merchant_id, event.device_id), _initial_key_id(event.ksn)
            )
            if failure in self._uncounted or len(self._uncounted) < _MOST_UNCOUNTED:
                self._uncounted[failure] += 1
        await self._events.note(event)

    async def look(self) -> None:
        """Raises what counting and suspending raise: then what is due stays due, and what was not counted is lost."""
        failures, self._uncounted = self._uncounted, Counter()
        if failures:
            self._due.update(dict.fromkeys(await self._counted.count(failures, self._rule)))
        for device in list(self._due):
            try:
                await self._stop(device)
            except PaymentTokenError as error:
                logger.error("a failing device is not suspended yet", extra={"code": error.code})
                return
            del self._due[device]

    async def _stop(self, device: FailingDevice) -> None:
        reason = f"{self._rule.failures} failures to decrypt within {self._rule.seconds} seconds"
        if await self._suspend.suspend(device.merchant_id, device.device_id, reason):
            await self._events.note(
                DeviceEvent(
                    DeviceEventKind.SUSPENDED_AUTOMATICALLY,
                    device.merchant_id,
                    device.device_id,
                    detail=reason,
                )
            )


def _initial_key_id(ksn: str) -> bytes | None:
    """Of a KSN under which a payload was tried, so it is well-formed: its length tells the scheme."""
    if not ksn:
        return None
    scheme = Scheme.DUKPT_AES if len(ksn) == _AES_KSN_DIGITS else Scheme.DUKPT_TDES
    try:
        return KSN.of_any_counter(ksn, scheme).initial_key_id
    except BadKSNError:
        # No terminal's.
        return b""
