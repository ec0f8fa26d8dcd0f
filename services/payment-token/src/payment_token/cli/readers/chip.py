"""The elements that a chip gives of a card, as its tracks have them."""

from payment_token.cli.readers.tracks import Tracks
from payment_token.domain.tlv import written

PAN, TRACK2, EXPIRY, NAME, ENTRY_MODE, AMOUNT = (
    bytes.fromhex(tag) for tag in ("5A", "57", "5F24", "5F20", "9F39", "9F02")
)
_CHIP = b"\x05"
_LAST_DAY = "31"


def chip_elements(tracks: Tracks) -> dict[bytes, bytes]:
    """Their values by tag. What is not card data is that of a chip that was read on its contacts."""
    digits = tracks.track2.strip(";?")
    number, _, rest = digits.partition("=")
    elements = {
        TRACK2: packed(digits.replace("=", "D")),
        PAN: packed(number),
        EXPIRY: packed(rest[:4] + _LAST_DAY),
        ENTRY_MODE: _CHIP,
        AMOUNT: bytes(6),
    }
    if tracks.track1:
        elements[NAME] = tracks.track1.split("^")[1].encode("ascii")
    return elements


def packed(digits: str) -> bytes:
    """Two digits to a byte, with an F where one is left over."""
    return bytes.fromhex(digits + "F" * (len(digits) % 2))


def masked(digits: bytes) -> bytes:
    """As readers show them: four digits at each end of what they pack, and C between."""
    text = digits.hex().upper().rstrip("F")
    return packed(text[:4] + "C" * (len(text) - 8) + text[-4:])


def in_one(elements: dict[bytes, bytes]) -> bytes:
    return b"".join(written(tag, value) for tag, value in elements.items())
