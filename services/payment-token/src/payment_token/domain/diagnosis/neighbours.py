"""KSNs beside the one that is given: what a terminal sends whose software counts before it sends, or after."""

from collections.abc import Iterator

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.dukpt.ksn import AES_COUNTER_BITS, TDES_COUNTER_BITS
from payment_token.domain.errors import BadKSNError

_COUNTER_BITS = {Scheme.DUKPT_TDES: TDES_COUNTER_BITS, Scheme.DUKPT_AES: AES_COUNTER_BITS}


def neighbours(ksn: KSN, reach: int) -> Iterator[tuple[int, KSN]]:
    """Possible KSNs of the same initial key, the nearest first, with how far from this one they are."""
    most = (1 << _COUNTER_BITS[ksn.scheme]) - 1
    number = int.from_bytes(ksn.value, "big")
    for distance in range(1, reach + 1):
        for step in (distance, -distance):
            if not 0 < ksn.counter + step <= most:
                continue
            try:
                moved = (number + step).to_bytes(len(ksn.value), "big").hex()
                yield step, KSN.from_hex(moved, ksn.scheme)
            except BadKSNError:
                continue
