"""Base derivation keys that standards publish for tests. Readers for demonstration and development come with them.

None protects anything. They are tried where no key of the deployment fits, because to import one is then all it takes.
"""

from payment_token.domain import dukpt
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.sensitive import SecretKey

_KEYS = {
    # ANSI X9.24-1:2009 A.4, also in the manuals of ID TECH and MagTek
    "0123456789ABCDEFFEDCBA9876543210": BDKAlgorithm.TDES_2KEY,
    # ANSI X9.24-3:2017, its supplement of test vectors
    "FEDCBA9876543210F1F1F1F1F1F1F1F1": BDKAlgorithm.AES_128,
    "FEDCBA9876543210F1F1F1F1F1F1F1F1FEDCBA9876543210F1F1F1F1F1F1F1F1": BDKAlgorithm.AES_256,
}
_PREFIX = "published-test-key:"

PUBLISHED_KEYS = tuple(
    BaseDerivationKey(f"test-{algorithm}", _PREFIX + key, algorithm, allow_pin_variant=True)
    for key, algorithm in _KEYS.items()
)
"""Not keys of the deployment: their names are what a diagnosis says to import them as."""


def is_published(bdk: BaseDerivationKey) -> bool:
    return bdk.key_uri.startswith(_PREFIX)


def digits_of(bdk: BaseDerivationKey) -> str:
    return bdk.key_uri.removeprefix(_PREFIX)


def initial_key_of_published(bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
    return dukpt.initial_key(SecretKey(bytes.fromhex(digits_of(bdk))), ksn)
