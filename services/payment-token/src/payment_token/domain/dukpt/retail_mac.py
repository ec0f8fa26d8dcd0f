"""The MAC of a TDES DUKPT transaction: ANSI X9.19, which is ISO/IEC 9797-1 MAC algorithm 3 with DES and padding method 1.

A CBC-MAC with the left half of the key over the message, filled up with zeros; its last block once more through both
halves. It is 8 bytes; readers send the first 4 or more of them.
"""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from payment_token.domain.dukpt import tdes
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

_BLOCK = 8
_FEWEST_BYTES = 4  # one in four thousand million guesses is right


def retail_mac(key: SecretKey, message: SensitiveBytes) -> bytes:
    """``key`` is 16 bytes; the MAC is 8."""
    left, right = key.reveal()[:_BLOCK], key.reveal()[_BLOCK:]
    clear = message.reveal() or bytes(_BLOCK)
    padded = clear + bytes(-len(clear) % _BLOCK)
    chained = Cipher(TripleDES(left * 3), modes.CBC(bytes(_BLOCK))).encryptor().update(padded)
    crossed = _single_des(right).decryptor().update(chained[-_BLOCK:])
    return _single_des(left).encryptor().update(crossed)


def check_mac(transaction: SecretKey, message: SensitiveBytes, mac: bytes) -> None:
    """Of what a terminal sends: under the MAC request key. Raises DecryptionFailedError, stage ``mac``."""
    expected = retail_mac(tdes.variant_key(transaction, tdes.MAC_REQUEST_MASK), message)
    long_enough = _FEWEST_BYTES <= len(mac) <= _BLOCK
    if not long_enough or not hmac.compare_digest(expected[: len(mac)], mac):
        raise DecryptionFailedError("mac")


def _single_des(key: bytes) -> Cipher[modes.ECB]:
    # Single DES is TDES with three equal keys.
    return Cipher(TripleDES(key * 3), modes.ECB())
