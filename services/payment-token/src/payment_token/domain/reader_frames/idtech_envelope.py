"""What ID TECH readers put around the data of a swipe (ID TECH 80000502-001).

=========  =====  ============================================================
STX        1      02
length     2      of the card data, little-endian
card data  length
LRC        1      all bytes of the card data, exclusive-or
checksum   1      their sum, modulo 256
ETX        1      03
=========  =====  ============================================================

A USB HID report fills up with zeros after that. Readers that act as a keyboard type the same bytes in hexadecimal.
"""

import re
from functools import reduce
from operator import xor

from payment_token.domain.reader_frames.frame_refusal import refused

_STX, _ETX = 0x02, 0x03
_HEAD, _TAIL = 3, 3
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
_TYPED_STX = b"02"


def card_data(frame: bytes) -> bytes:
    """Raises InvalidFieldError."""
    frame = _as_bytes(frame)
    if len(frame) < _HEAD + _TAIL or frame[0] != _STX:
        raise refused("does not begin with STX (02) and a length")
    end = _HEAD + int.from_bytes(frame[1:_HEAD], "little")
    if len(frame) < end + _TAIL or any(frame[end + _TAIL :]):
        raise refused("states another length than it has")
    data, (lrc, checksum, etx) = frame[_HEAD:end], frame[end : end + _TAIL]
    if etx != _ETX:
        raise refused("has no ETX (03) where its length says that it ends")
    if lrc != reduce(xor, data, 0):
        raise refused("the LRC does not match")
    if checksum != sum(data) % 256:
        raise refused("the checksum does not match")
    return data


def _as_bytes(frame: bytes) -> bytes:
    typed = frame.strip()
    if not typed.startswith(_TYPED_STX):
        return frame
    if len(typed) % 2 or not _HEXADECIMAL.fullmatch(typed):
        raise refused("is not whole bytes in hexadecimal")
    return bytes.fromhex(typed.decode("ascii"))
