"""The KSN of a terminal that is new: its counter at zero, and an initial key id that nobody chose."""

from collections.abc import Callable

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.dukpt.ksn import AES_COUNTER_BITS, TDES_COUNTER_BITS
from payment_token.domain.enrolment import BaseDerivationKey

_DIGITS = {Scheme.DUKPT_TDES: 20, Scheme.DUKPT_AES: 24}
_COUNTER_BITS = {Scheme.DUKPT_TDES: TDES_COUNTER_BITS, Scheme.DUKPT_AES: AES_COUNTER_BITS}
_RANDOM_BYTES = 16


def new_initial_ksn(bdk: BaseDerivationKey, random: Callable[[int], bytes]) -> KSN:
    """A KSN of a DUKPT key, within its prefix; but where the prefix reaches into the counter, that is zero nevertheless."""
    scheme, prefix = bdk.algorithm.scheme, bdk.ksn_prefix or ""
    digits, counter_bits = _DIGITS[scheme], _COUNTER_BITS[scheme]
    bits_after_prefix = 4 * (digits - len(prefix))
    chosen = int.from_bytes(random(_RANDOM_BYTES), "big") % (1 << bits_after_prefix)
    number = int(prefix or "0", 16) << bits_after_prefix | chosen
    return KSN.of_any_counter(f"{number >> counter_bits << counter_bits:0{digits}X}", scheme)
