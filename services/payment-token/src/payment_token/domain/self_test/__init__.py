"""Self-tests: proof that this process and its custodians compute what the standards say, before any card data is touched.

:mod:`known_answer` how one is asked · :mod:`primitives` and :mod:`schemes` the published answers · :mod:`custodians`
what the holders of keys must prove · :mod:`cryptography_state` what a failure stops · :mod:`guarded_keys` how it stops.
"""

from payment_token.domain.self_test.cryptography_state import CryptographyState
from payment_token.domain.self_test.known_answer import KnownAnswer, SelfTestResult, ask
from payment_token.domain.self_test.primitives import PRIMITIVES
from payment_token.domain.self_test.schemes import SCHEMES

KNOWN_ANSWERS = (*PRIMITIVES, *SCHEMES)

__all__ = ["KNOWN_ANSWERS", "CryptographyState", "KnownAnswer", "SelfTestResult", "ask"]
