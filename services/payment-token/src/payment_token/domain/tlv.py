"""A reader of BER-TLV (ISO/IEC 8825-1, as EMV 4.4 Book 3 Annex B narrows it), and of what card readers make of it.

An element is a tag of 1 to 4 bytes, a length (one byte below 0x80, or 0x81 to 0x84 and that many bytes, big-endian)
and a value. A constructed tag (bit 6 of its first byte) is a template: its elements come in its place, in order, since
no EMV tag means something else inside of one. Repeated tags are all kept.

Some readers put an attribute byte between tag and length. It has its highest bit set and is none of the five bytes that begin
a length in long form, so that both are read by one rule.

Before, between and after elements, bytes 0x00 and runs of 0xFF mean nothing (ISO/IEC 7816-4). A single 0xFF with more
behind it opens a private tag such as FF8105. PKCS#7 padding may end the whole: n bytes of n ≤ 16 never are an
element, as their length would reach past the end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from payment_token.domain.sensitive import SensitiveBytes

_MAX_ELEMENTS = 256
_MAX_DEPTH = 8
_MAX_TAG_BYTES = 4
_MAX_PKCS7_BYTES = 16
_FILLER = re.compile(rb"(?:\x00+|\xff{2,}|\xff(?=\x00|\Z))*")
_CONSTRUCTED, _MORE_TAG_BYTES, _ANOTHER_TAG_BYTE = 0x20, 0x1F, 0x80
_LONG_FORM = 0x80
_MAX_LENGTH_BYTES = 4


class TLVError(Exception):
    """``fault`` is ``count``, ``depth``, ``tag``, ``length``, or ``truncated``: an element reaches past the end of what holds it."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(f"not TLV: {fault}")


@dataclass(frozen=True, slots=True)
class TLVElement:
    """A primitive element."""

    tag: bytes
    value: SensitiveBytes
    attribute: int | None = None


@dataclass(frozen=True, slots=True)
class TLVMessage:
    """``content`` is the message as it was read, without the padding at its end."""

    elements: tuple[TLVElement, ...]
    content: SensitiveBytes


def read_elements(data: bytes, *, attributes: bool = False) -> TLVMessage:
    """In time that grows with the data. Raises TLVError."""
    reader = _Reader(data, attributes=attributes)
    elements = tuple(reader.elements(0, len(data), depth=0))
    return TLVMessage(elements, SensitiveBytes(data[: reader.content_end]))


def end_of_element(data: bytes, start: int) -> int:
    """Where the element ends that starts there, whatever it holds. Raises TLVError."""
    return _Reader(data, attributes=False).end_of(start)


def written(tag: bytes, value: bytes) -> bytes:
    """An element with its length in the shortest form."""
    size = len(value)
    if size < _LONG_FORM:
        return tag + bytes([size]) + value
    length = size.to_bytes(-(-size.bit_length() // 8), "big")
    return tag + bytes([_LONG_FORM + len(length)]) + length + value


class _Reader:
    def __init__(self, data: bytes, *, attributes: bool) -> None:
        self._data = data
        self._attributes = attributes
        self._count = 0
        self.content_end = 0

    def elements(self, start: int, end: int, depth: int) -> Iterator[TLVElement]:
        """Those between two offsets, templates replaced by what they hold."""
        if depth > _MAX_DEPTH:
            raise TLVError("depth")
        position = self._after_padding(start, end)
        while position < end:
            tag, position = self._tag(position, end)
            attribute, position = self._attribute(position, end)
            length, position = self._length(position, end)
            if length > end - position:
                raise TLVError("truncated")
            yield from self._element(tag, attribute, position, position + length, depth)
            self.content_end = position + length
            position = self._after_padding(position + length, end)

    def end_of(self, start: int) -> int:
        end = len(self._data)
        if start >= end:
            raise TLVError("truncated")
        _, position = self._tag(start, end)
        length, position = self._length(position, end)
        if length > end - position:
            raise TLVError("truncated")
        return position + length

    def _element(
        self, tag: bytes, attribute: int | None, start: int, end: int, depth: int
    ) -> Iterator[TLVElement]:
        self._count += 1
        if self._count > _MAX_ELEMENTS:
            raise TLVError("count")
        if tag[0] & _CONSTRUCTED:
            yield from self.elements(start, end, depth + 1)
        else:
            yield TLVElement(tag, SensitiveBytes(self._data[start:end]), attribute)

    def _after_padding(self, position: int, end: int) -> int:
        filler = _FILLER.match(self._data, position, end)
        position = filler.end() if filler else position
        return end if end == len(self._data) and self._is_pkcs7(position) else position

    def _is_pkcs7(self, position: int) -> bool:
        left = len(self._data) - position
        return 0 < left <= _MAX_PKCS7_BYTES and self._data[position:] == bytes([left]) * left

    def _tag(self, position: int, end: int) -> tuple[bytes, int]:
        start = position
        position += 1
        if self._data[start] & _MORE_TAG_BYTES == _MORE_TAG_BYTES:
            while self._byte(position, end) & _ANOTHER_TAG_BYTE:
                position += 1
                if position - start == _MAX_TAG_BYTES:
                    raise TLVError("tag")
            position += 1
        return self._data[start:position], position

    def _attribute(self, position: int, end: int) -> tuple[int | None, int]:
        found = self._byte(position, end)
        if not self._attributes or found <= _LONG_FORM + _MAX_LENGTH_BYTES:
            return None, position
        return found, position + 1

    def _length(self, position: int, end: int) -> tuple[int, int]:
        first = self._byte(position, end)
        position += 1
        if first < _LONG_FORM:
            return first, position
        size = first - _LONG_FORM
        if not 1 <= size <= _MAX_LENGTH_BYTES:
            raise TLVError("length")
        if size > end - position:
            raise TLVError("truncated")
        return int.from_bytes(self._data[position : position + size], "big"), position + size

    def _byte(self, position: int, end: int) -> int:
        if position >= end:
            raise TLVError("truncated")
        return self._data[position]
