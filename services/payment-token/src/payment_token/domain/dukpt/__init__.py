"""DUKPT: derived unique key per transaction. A terminal never uses a key twice, and keeps none that it has used.

The order is always the same: BDK and KSN give the terminal's initial key (in the custodian); initial key and counter
give the transaction key; transaction key, variant and cipher give the key of a payload.

:mod:`ksn` the key serial number · :mod:`tdes` ANSI X9.24-1:2009 · :mod:`aes` ANSI X9.24-3:2017 ·
:mod:`derivation_path` the walk with its memory · :mod:`payload_key` the last step.
"""

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import aes, tdes
from payment_token.domain.dukpt.derivation_path import DerivationPath
from payment_token.domain.dukpt.ksn import KSN
from payment_token.domain.dukpt.payload_key import payload_key
from payment_token.domain.sensitive import SecretKey

__all__ = ["KSN", "DerivationPath", "initial_key", "payload_key"]


def initial_key(bdk: SecretKey, ksn: KSN) -> SecretKey:
    """What a custodian derives from a BDK for the terminal that the KSN names."""
    return (
        aes.initial_key(bdk, ksn) if ksn.scheme is Scheme.DUKPT_AES else tdes.initial_key(bdk, ksn)
    )
