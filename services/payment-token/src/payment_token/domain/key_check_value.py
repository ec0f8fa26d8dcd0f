"""Key check values: three bytes that tell two people that they hold the same key, and nothing else about it."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.sensitive import SecretKey

_BYTES = 3


def key_check_value(key: SecretKey, algorithm: BDKAlgorithm) -> str:
    """Six hexadecimal digits. TDES: of the zero block encrypted (X9.24-1 Annex C); AES: of CMAC of it (X9.24-3)."""
    raw = key.reveal()
    if algorithm is BDKAlgorithm.TDES_2KEY:
        cipher = Cipher(TripleDES(raw + raw[:8]), modes.ECB())
        value = cipher.encryptor().update(bytes(8))
    else:
        mac = CMAC(AES(raw))
        mac.update(bytes(16))
        value = mac.finalize()
    return value[:_BYTES].hex().upper()
