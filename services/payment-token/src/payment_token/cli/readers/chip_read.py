"""What a reader has of a chip: the elements that make a card of it, from the track 2 of the same card."""

from payment_token.cli.readers.tracks import Tracks

_SHOWN = 4


def element(tag: str, value: bytes) -> bytes:
    """BER-TLV (ISO/IEC 8825-1), in as few bytes of length as it takes."""
    size = len(value)
    if size < 0x80:  # noqa: PLR2004  the short form
        length = bytes((size,))
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes((0x80 | len(digits),)) + digits
    return bytes.fromhex(tag) + length + value


def pan(tracks: Tracks) -> bytes:
    """The value of tag 5A."""
    return packed(_number(tracks))


def track2_equivalent(tracks: Tracks) -> bytes:
    """The value of tag 57."""
    return packed(tracks.track2.strip(";?").replace("=", "D"))


def expiry(tracks: Tracks) -> bytes:
    """The value of tag 5F24. Tracks have no day, and a month's last is taken to be its 28th."""
    return packed(tracks.track2.partition("=")[2][:4] + "28")


def masked_pan(tracks: Tracks) -> bytes:
    """Of tag 5A, with C for each digit between the first and the last four."""
    number = _number(tracks)
    return packed(number[:_SHOWN] + "C" * (len(number) - 2 * _SHOWN) + number[-_SHOWN:])


def elements(tracks: Tracks) -> bytes:
    return (
        element("5A", pan(tracks))
        + element("57", track2_equivalent(tracks))
        + element("5F24", expiry(tracks))
        + element("9F39", b"\x05")
    )


def packed(digits: str) -> bytes:
    """Two to a byte, filled up with F."""
    return bytes.fromhex(digits + "F" * (len(digits) % 2))


def _number(tracks: Tracks) -> str:
    return tracks.track2.strip(";").partition("=")[0]
