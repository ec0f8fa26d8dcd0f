"""A chip or contactless read of an ID TECH reader (VP3300, Augusta, Kiosk, Spectrum): TLV in which single elements are encrypted.

Public sources: ID TECH's TLV Tag Reference Guide 80000503-001 and Encrypted Data Output Formats 80000502-001.

=================  ===================================================================================================
DFEE12             the KSN
57 C1, 5A C1, …    an attribute byte with bit 7 set, between tag and length: the value is encrypted, in CBC by itself
57 A1, 5A A1, …    the same with bit 6 set: the value is masked, and is dropped
57, 5A             where DFEF5D or DFEF5B (masked 57 and 5A) are there, newer firmware sends the ciphertext without an attribute
=================  ===================================================================================================

A decrypted value is once more tag, length and value, filled up to whole blocks. What stands in clear beside it (5F24, 9F39, …)
goes on with it, and is as trustworthy as the line that it came over: no key vouches for it.
"""

from collections.abc import Sequence

from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import CleartextCardDataError, DecryptionFailedError
from payment_token.domain.reader_frames.decrypted_tlv import decrypted_message
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD, refused
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.reader_frames.reader_tlv import (
    CARD_DATA,
    ksn_of,
    message_bytes,
    reader_elements,
)
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import TLVElement, written

_KSN = bytes.fromhex("DFEE12")
_MASKED_TWINS = (bytes.fromhex("DFEF5B"), bytes.fromhex("DFEF5D"))
_ENCRYPTED, _MASKED = 0x40, 0x20
_WITH_TWIN = CARD_DATA[:2]
# Each is decrypted by itself, which may be a call to the custodian.
_MOST_ENCRYPTED = 8
# The class of tags that every maker of readers gives a meaning of its own.
_PRIVATE = (0xDF, 0xFF)


def read_idtech_emv(frame: bytes) -> OpenedFrame:
    """Raises InvalidFieldError, and CleartextCardDataError where the reader does not encrypt."""
    elements = reader_elements(message_bytes(frame), attributes=True)
    ksn = ksn_of(elements, _KSN)
    newer = any(element.tag in _MASKED_TWINS for element in elements)
    kept = [element for element in elements if not _is_masked(element)]
    encrypted = [element for element in kept if _is_encrypted(element, newer=newer)]
    if not encrypted:
        raise refused("has no encrypted element: neither an attribute C1, nor DFEF5B or DFEF5D")

    if len(encrypted) > _MOST_ENCRYPTED:
        raise refused(f"has more than {_MOST_ENCRYPTED} encrypted elements")

    def assemble(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
        return [(PartFormat.EMV_TLV, _assembled(kept, encrypted, plaintexts))]

    return OpenedFrame(ksn, tuple(element.value.reveal() for element in encrypted), assemble)


def _is_masked(element: TLVElement) -> bool:
    """Raises InvalidFieldError for an attribute that says neither."""
    if element.attribute is None or element.attribute & _ENCRYPTED:
        return False
    if element.attribute & _MASKED:
        return True
    raise refused("has an attribute byte that says neither encrypted nor masked")


def _is_encrypted(element: TLVElement, *, newer: bool) -> bool:
    """Raises CleartextCardDataError for card data that is neither masked nor encrypted."""
    if not element.value.reveal():
        return False
    if element.attribute is not None or (newer and element.tag in _WITH_TWIN):
        return True
    if element.tag in CARD_DATA:
        raise CleartextCardDataError(FRAME_FIELD)
    return False


def _assembled(
    kept: Sequence[TLVElement],
    encrypted: Sequence[TLVElement],
    plaintexts: Sequence[SensitiveBytes],
) -> SensitiveBytes:
    clear = {
        id(element): _decrypted_value(element.tag, plaintext)
        for element, plaintext in zip(encrypted, plaintexts, strict=True)
    }
    return SensitiveBytes(
        b"".join(
            written(element.tag, clear.get(id(element), element.value).reveal())
            for element in kept
            if element.tag[0] not in _PRIVATE
        )
    )


def _decrypted_value(tag: bytes, plaintext: SensitiveBytes) -> SensitiveBytes:
    """Raises:
    DecryptionFailedError: ``frame-element``: anything but the one element that the ciphertext stood for.
    """
    elements = decrypted_message(plaintext).elements
    if len(elements) != 1 or elements[0].tag != tag:
        raise DecryptionFailedError("frame-element")
    return elements[0].value
