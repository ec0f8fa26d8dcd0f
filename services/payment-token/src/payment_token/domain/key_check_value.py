"""Key check values: three bytes that tell two people that they hold the same key, and nothing else about it."""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.sensitive import SecretKey

CHECK_VALUE_BYTES = 3
HMAC_MESSAGE = b"pts/key-check-value/v1"
"""No standard has a check value for HMAC keys that every custodian can compute. This message is ours."""


def key_check_value(key: SecretKey, algorithm: BDKAlgorithm) -> str:
    """Six hexadecimal digits.

    TDES: of the zero block encrypted (X9.24-1 Annex C); AES: of CMAC of it (X9.24-3); HMAC: of :data:`HMAC_MESSAGE`.
    """
    raw = key.reveal()
    if algorithm is BDKAlgorithm.TDES_2KEY:
        cipher = Cipher(TripleDES(raw + raw[:8]), modes.ECB())
        value = cipher.encryptor().update(bytes(8))
    elif algorithm is BDKAlgorithm.DEVICE_AEAD:
        value = hmac.digest(raw, HMAC_MESSAGE, "sha256")
    else:
        mac = CMAC(AES(raw))
        mac.update(bytes(16))
        value = mac.finalize()
    return value[:CHECK_VALUE_BYTES].hex().upper()
