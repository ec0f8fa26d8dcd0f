"""What a reader encrypted as a whole: the TLV of a chip read, in which tracks of a swipe may stand, or a bare track."""

from collections.abc import Mapping

from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.reader_frames.opened_frame import ClearParts
from payment_token.domain.reader_frames.reader_tlv import CARD_DATA
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import TLVError, TLVMessage, read_elements

_SENTINELS = {b"%": PartFormat.TRACK1, b";": PartFormat.TRACK2}
_PIN_DATA = bytes.fromhex("99")

# ISO/IEC 7816-6: tracks 1 to 3 as text.
TRACKS = {
    bytes.fromhex("5F21"): PartFormat.TRACK1,
    bytes.fromhex("5F22"): PartFormat.TRACK2,
    bytes.fromhex("5F23"): PartFormat.TRACK3,
}


def parts_of(plaintext: SensitiveBytes, tracks: Mapping[bytes, PartFormat] = TRACKS) -> ClearParts:
    """``tracks`` are the tags in which tracks stand.

    Raises:
        DecryptionFailedError: ``frame-tlv``; ``pin-data``, which this service never takes (PCI PIN Security).
    """
    clear = plaintext.reveal()
    sentinel = _SENTINELS.get(clear[:1])
    if sentinel is not None:
        return [(sentinel, plaintext)]
    elements = decrypted_message(plaintext).elements
    if any(element.tag == _PIN_DATA for element in elements):
        raise DecryptionFailedError("pin-data")
    found = [
        (tracks[element.tag], element.value)
        for element in elements
        if element.tag in tracks and element.value.reveal()
    ]
    # Beside the tracks of a swipe too: they must tell of the same card.
    if not found or any(element.tag in CARD_DATA for element in elements):
        found.append((PartFormat.EMV_TLV, plaintext))
    return found


def decrypted_message(plaintext: SensitiveBytes) -> TLVMessage:
    """Raises DecryptionFailedError: ``frame-tlv``."""
    try:
        return read_elements(plaintext.reveal())
    except TLVError:
        pass
    raise DecryptionFailedError("frame-tlv")
