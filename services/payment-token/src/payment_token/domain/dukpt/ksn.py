"""The key serial number: which initial key a terminal holds, and which of its transactions this is.

==========  =====  =============================  ===================================
scheme      bytes  initial key id                 transaction counter
==========  =====  =============================  ===================================
X9.24-1     10     the KSN without its counter    the last 21 bits, 1 to 10 of them 1
X9.24-3     12     the first 8 bytes              the last 4 bytes, 1 to 16 bits of 1
==========  =====  =============================  ===================================

Terminals skip counters with more one-bits, which bounds the walk through the key tree.
"""

from dataclasses import dataclass
from typing import Self

from payment_token.domain.device_payload import Scheme
from payment_token.domain.errors import BadKSNError

TDES_COUNTER_BITS = 21
AES_COUNTER_BITS = 32

_TDES_COUNTER_MASK = (1 << TDES_COUNTER_BITS) - 1
_HEX_DIGITS = {Scheme.DUKPT_TDES: (16, 20), Scheme.DUKPT_AES: (24,)}
_MOST_ONE_BITS = {Scheme.DUKPT_TDES: 10, Scheme.DUKPT_AES: 16}
_TDES_BYTES = 10
_AES_INITIAL_KEY_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class KSN:
    """``value`` is 10 bytes under TDES, 12 under AES; ``initial_key_id`` is 10 bytes under TDES, 8 under AES."""

    scheme: Scheme
    value: bytes
    initial_key_id: bytes
    counter: int

    @classmethod
    def from_hex(cls, text: str, scheme: Scheme) -> Self:
        """Reads 16, 20 (TDES) or 24 (AES) hexadecimal digits; an 8-byte KSN lacks the leading FFFF, which is put back.

        Raises BadKSNError for anything that no terminal of the scheme sends.
        """
        ksn = cls.of_any_counter(text, scheme)
        if not 1 <= ksn.counter.bit_count() <= _MOST_ONE_BITS[scheme]:
            raise BadKSNError
        return ksn

    @classmethod
    def of_any_counter(cls, text: str, scheme: Scheme) -> Self:
        """The same without the rule on counters: for published vectors whose counters no terminal uses."""
        if len(text) not in _HEX_DIGITS.get(scheme, ()) or not (text.isascii() and text.isalnum()):
            raise BadKSNError
        value = _bytes_of(text)
        if scheme is Scheme.DUKPT_AES:
            return cls(
                scheme, value, value[:_AES_INITIAL_KEY_ID_BYTES], int.from_bytes(value[8:], "big")
            )
        value = value.rjust(_TDES_BYTES, b"\xff")
        number = int.from_bytes(value, "big")
        initial_key_id = (number & ~_TDES_COUNTER_MASK).to_bytes(_TDES_BYTES, "big")
        return cls(scheme, value, initial_key_id, number & _TDES_COUNTER_MASK)

    def __str__(self) -> str:
        return self.value.hex().upper()


def _bytes_of(text: str) -> bytes:
    value = None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        pass
    if value is None:
        raise BadKSNError
    return value
