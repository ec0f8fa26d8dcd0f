"""What messages in TLV have in common, whoever made the reader."""

import re
from collections.abc import Sequence

from payment_token.domain.errors import CleartextCardDataError, InvalidFieldError
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD, refused
from payment_token.domain.tlv import TLVElement, TLVError, read_elements

_MAX_BYTES = 8192
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
_KSN_BYTES = (8, 10, 12)
# PAN, and what holds it: tracks 1 and 2 of a chip, track 2 of a contactless stripe read.
CARD_DATA = tuple(bytes.fromhex(tag) for tag in ("5A", "57", "56", "9F6B"))
_PIN_BLOCK = bytes.fromhex("99")
_FAULTS = {
    "count": "has more elements than any reader sends",
    "depth": "has templates within templates beyond what any reader sends",
    "tag": "has a tag of more than four bytes",
    "length": "has a length that is none of BER-TLV",
    "truncated": "ends within an element",
}


def message_bytes(frame: bytes) -> bytes:
    """The bytes, also where a terminal's software gives them as hexadecimal text. Raises InvalidFieldError."""
    text = frame.strip()
    # No message in TLV is made of the bytes of sixteen characters only.
    is_text = len(text) % 2 == 0 and _HEXADECIMAL.fullmatch(text)
    data = bytes.fromhex(text.decode("ascii")) if is_text else frame
    if len(data) > _MAX_BYTES:
        raise refused(f"is longer than {_MAX_BYTES} bytes")
    return data


def reader_elements(data: bytes, *, attributes: bool = False) -> tuple[TLVElement, ...]:
    """Templates are replaced by what they hold. Raises InvalidFieldError."""
    fault = ""
    try:
        return read_elements(data, attributes=attributes).elements
    except TLVError as error:
        fault = error.fault
    raise not_tlv(fault)


def check_nothing_in_clear(elements: Sequence[TLVElement]) -> None:
    """Raises CleartextCardDataError for card data beside the ciphertext, InvalidFieldError for a PIN block (PCI PIN Security)."""
    if values_of(elements, _PIN_BLOCK):
        raise refused("holds a PIN block (99), which this service never takes")
    if any(values_of(elements, tag) for tag in CARD_DATA):
        raise CleartextCardDataError(FRAME_FIELD)


def not_tlv(fault: str) -> InvalidFieldError:
    return refused(_FAULTS[fault])


def values_of(elements: Sequence[TLVElement], tag: bytes) -> set[bytes]:
    """The different values of a tag; one that is empty says nothing."""
    return {element.value.reveal() for element in elements if element.tag == tag} - {b""}


def value_of(elements: Sequence[TLVElement], tag: bytes) -> bytes | None:
    """Raises InvalidFieldError where the tag is there twice, and says two different things."""
    values = values_of(elements, tag)
    if len(values) > 1:
        raise refused(f"states {tag.hex().upper()} twice, with different values")
    return values.pop() if values else None


def required(elements: Sequence[TLVElement], tag: bytes, what: str) -> bytes:
    """Raises InvalidFieldError."""
    value = value_of(elements, tag)
    if value is None:
        raise refused(f"has no {tag.hex().upper()} ({what})")
    return value


def ksn_of(elements: Sequence[TLVElement], tag: bytes) -> str:
    """In upper-case hexadecimal. Raises InvalidFieldError."""
    ksn = required(elements, tag, "the KSN")
    if len(ksn) not in _KSN_BYTES:
        raise refused(f"{tag.hex().upper()} (the KSN) must have 8, 10 or 12 bytes")
    return ksn.hex().upper()


def serial_of(elements: Sequence[TLVElement], tag: bytes) -> str | None:
    """As text where it is text, else in upper-case hexadecimal. Raises InvalidFieldError."""
    serial = value_of(elements, tag)
    if serial is None:
        return None
    text = serial.rstrip(b"\x00 ").decode("latin-1")
    return text if text.isascii() and text.isprintable() else serial.hex().upper()
