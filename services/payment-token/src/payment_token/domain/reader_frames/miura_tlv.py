"""A read of a Miura reader (M010, M020, Shuttle): the ciphertext of its secure reading module, and the KSN, in TLV.

Public source: the description of Miura payloads in Bluefin's parser, and of SRED tags in Fiserv's EMV appendix.

======  ==========================================================
DFAE02  ciphertext
DFAE03  its KSN
DFAE57  masked track 2, and other elements in clear: dropped
======  ==========================================================

They stand within a template (E1 to E6) or without one. No complete message is published. What it decrypts to is taken as the
elements of a chip, as tracks in 5F21 and 5F22, or as a bare track; nothing else passes.
"""

from collections.abc import Sequence

from payment_token.domain.reader_frames.decrypted_tlv import parts_of
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.reader_frames.reader_tlv import (
    check_nothing_in_clear,
    ksn_of,
    message_bytes,
    reader_elements,
    required,
)
from payment_token.domain.sensitive import SensitiveBytes

_CIPHERTEXT = bytes.fromhex("DFAE02")
_KSN = bytes.fromhex("DFAE03")


def read_miura_tlv(frame: bytes) -> OpenedFrame:
    """Raises InvalidFieldError."""
    elements = reader_elements(message_bytes(frame))
    check_nothing_in_clear(elements)
    ciphertext = required(elements, _CIPHERTEXT, "the ciphertext")
    return OpenedFrame(ksn_of(elements, _KSN), (ciphertext,), assemble_whole)


def assemble_whole(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
    (plaintext,) = plaintexts
    return parts_of(plaintext)
