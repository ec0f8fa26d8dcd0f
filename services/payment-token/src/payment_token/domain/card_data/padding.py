"""What a terminal adds to fill its last cipher block."""

_MAX_BLOCK = 16


def strip_padding(data: bytes) -> bytes:
    """``data`` without the bytes 0x00, the bytes 0xFF or the PKCS#7 padding (RFC 5652 6.3) at its end.

    Only one of the three is taken off. Nothing needs to say which one a terminal uses: a track in text form and a
    JSON object end with a character that is none of these bytes. A TLV or a packed track may end with any byte, so
    their readers find the end themselves.
    """
    if data.endswith(b"\x00"):
        return data.rstrip(b"\x00")
    if data.endswith(b"\xff"):
        return data.rstrip(b"\xff")
    count = data[-1] if data else 0
    if 1 <= count <= _MAX_BLOCK and data.endswith(bytes([count]) * count):
        return data[:-count]
    return data


def is_padding(data: bytes) -> bool:
    """True also for no bytes at all."""
    return not strip_padding(data)
