"""Track 2 with two digits to a byte: as the stripe has it (B … D … F), and as EMV tag 57 has it (… D … F)."""

from payment_token.domain.card_data.padding import is_padding, strip_padding
from payment_token.domain.errors import DecryptionFailedError

_MAX_BYTES = 20  # the 40 characters of a track 2
_START, _SEPARATOR, _END = "B", "D", "F"


def unpack(data: bytes) -> str:
    """The text ``PAN=YYMM…``, without sentinels, LRC and padding. What is no digit stays for the grammar to refuse.

    Raises:
        DecryptionFailedError: ``track2-syntax``: longer than track 2 can be, or more than padding after its end.
    """
    nibbles = data.hex().upper()
    end = nibbles.find(_END)
    if end < 0:
        track = _without_end(data)
    elif _ends_there(nibbles, end):
        track = nibbles[:end]
    else:
        raise DecryptionFailedError("track2-syntax")
    if len(track) > 2 * _MAX_BYTES:
        raise DecryptionFailedError("track2-syntax")
    return track.removeprefix(_START).replace(_SEPARATOR, "=")


def _without_end(data: bytes) -> str:
    """With no F, zeros may be padding or the issuer's own digits.

    What fits on a track stays as it was read, because to drop an issuer's digit would get the card declined; only
    what cannot be a track any more is taken to be padded.
    """
    return (data if len(data) <= _MAX_BYTES else strip_padding(data)).hex().upper()


def _ends_there(nibbles: str, end: int) -> bool:
    """After the F come at most the LRC (only where the stripe's own sentinels are there) and padding."""
    after_lrc = end + 2 if nibbles.startswith(_START) else end + 1
    return _is_fill(nibbles, end + 1) or _is_fill(nibbles, after_lrc)


def _is_fill(nibbles: str, start: int) -> bool:
    """True when a half byte of 0 or F, if one is open, and whole bytes of padding are all there is."""
    whole = start + start % 2
    return nibbles[start:whole] in ("", "0", "F") and is_padding(bytes.fromhex(nibbles[whole:]))
