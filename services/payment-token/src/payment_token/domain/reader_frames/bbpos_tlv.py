"""A chip or contactless read of a BBPOS or DSPREAD reader (WisePad, Chipper, QPOS): the online message, encrypted as a whole.

Public sources: the sample software that the makers publish for their readers, and Bluefin's description of WisePad payloads.

==  ==============================================================================
C0  KSN of the online message
C2  the online message, encrypted: the elements of the chip
C1  KSN of the PIN; C3 of a batch or reversal; C7 of track 2 (C8): not read here
C4  masked PAN: dropped
==  ==============================================================================

Such a reader has three initial keys, for PIN, EMV and tracks, with a KSN each; all may be registered for one device. A PIN
block (99) beside the message is refused, not dropped: whoever sends it would learn nothing of its way.
"""

from payment_token.domain.reader_frames.miura_tlv import assemble_whole
from payment_token.domain.reader_frames.opened_frame import OpenedFrame
from payment_token.domain.reader_frames.reader_tlv import (
    check_nothing_in_clear,
    ksn_of,
    message_bytes,
    reader_elements,
    required,
    serial_of,
)

_KSN = bytes.fromhex("C0")
_CIPHERTEXT = bytes.fromhex("C2")
_SERIAL = bytes.fromhex("DF826E")


def read_bbpos_tlv(frame: bytes) -> OpenedFrame:
    """Raises InvalidFieldError."""
    elements = reader_elements(message_bytes(frame))
    check_nothing_in_clear(elements)
    return OpenedFrame(
        ksn=ksn_of(elements, _KSN),
        ciphertexts=(required(elements, _CIPHERTEXT, "the encrypted online message"),),
        assemble=assemble_whole,
        serial=serial_of(elements, _SERIAL),
    )
