"""The magnetic stripe: tracks 1 and 2 (ISO/IEC 7813:2006), and track 3 (ISO/IEC 4909), which is discarded.

Track 1 is ``%B PAN ^ NAME ^ YYMM SSS discretionary ?`` and track 2 is ``; PAN = YYMM SSS discretionary ?``, in ASCII;
a separator in the place of expiry or service code says that there is none. Sentinels may be missing. After the end
sentinel may come the LRC as one character (not verified: the cipher's key vouches for more than seven bits could) and
padding. :mod:`packed_track` reads track 2 in its packed form.
"""

import re

from payment_token.domain.card_data.packed_track import unpack
from payment_token.domain.card_data.padding import is_padding, strip_padding
from payment_token.domain.card_data.part_read import Expiry, PartRead, name_of, pan_of
from payment_token.domain.card_data.payment_data import EntryMode
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveText

_MAX_PART_BYTES = 256  # a track, and the widest field that readers pad it to
_MAX_TRACK1, _MAX_TRACK2, _MAX_TRACK3 = 79, 40, 107
_MAX_NAME = 26
_END_SENTINEL = b"?"

_ALPHABET = r"[ -$&->@-\]_]"  # the 64 characters of track 1 without its sentinels and its separator
_TRACK1 = re.compile(
    rf"%?B(?P<pan>[0-9]{{1,19}})\^(?P<name>{_ALPHABET}*)\^(?P<expiry>[0-9]{{4}}|\^)"
    rf"(?P<service_code>[0-9]{{3}}|\^){_ALPHABET}*\??"
)
_OTHER_FORMAT_CODE = re.compile(r"%?[AC-Z]")
_TRACK2 = re.compile(
    r";?(?P<pan>[0-9]{1,19})=(?P<expiry>[0-9]{4}|=)(?P<service_code>[0-9]{3}|=)[0-9=]*\??"
)
# A packed PAN fills at most ten bytes and its separator follows, so twelve ASCII digits in a row are text; and no
# packed track has the byte of ';', which would be a start sentinel after a digit.
_TRACK2_AS_TEXT = re.compile(rb";|[0-9]{12}")
_TRACK3 = re.compile(r"[ -~]*")


def read_track1(data: bytes) -> PartRead:
    """Raises:
    DecryptionFailedError: ``part-size``, ``track1-format`` (a format code other than B, which no payment card
        has), ``track1-syntax``, ``pan`` or ``name``.
    """
    text = _text(data, _MAX_TRACK1, "track1-syntax")
    if _OTHER_FORMAT_CODE.match(text):
        raise DecryptionFailedError("track1-format")
    fields = _TRACK1.fullmatch(text)
    if fields is None:
        raise DecryptionFailedError("track1-syntax")
    return PartRead(
        pan=pan_of(fields["pan"]),
        expiry=_expiry(fields["expiry"]),
        cardholder_name=name_of(fields["name"], _MAX_NAME),
        service_code=_service_code(fields["service_code"]),
        track1=SensitiveText(text),
        entry_mode=EntryMode.SWIPE,
    )


def read_track2(data: bytes) -> PartRead:
    """Track 2 as text, or packed with two digits to a byte.

    Raises:
        DecryptionFailedError: ``part-size``, ``track2-syntax`` or ``pan``.
    """
    if _TRACK2_AS_TEXT.match(data):
        return _track2_fields(_text(data, _MAX_TRACK2, "track2-syntax"), EntryMode.SWIPE)
    return read_packed_track2(data, EntryMode.SWIPE)


def read_packed_track2(data: bytes, entry_mode: EntryMode) -> PartRead:
    """Also EMV tags 57 and 9F6B (EMV Book 3 Annex A, "Track 2 Equivalent Data").

    Raises:
        DecryptionFailedError: ``part-size``, ``track2-syntax`` or ``pan``.
    """
    _bound(data)
    return _track2_fields(unpack(data), entry_mode)


def discard_track3(data: bytes) -> PartRead:
    """Gives nothing: track 3 holds no card number that a network takes, so it is never parsed nor stored.

    Raises:
        DecryptionFailedError: ``part-size`` or ``track3-syntax``.
    """
    if not _TRACK3.fullmatch(_text(data, _MAX_TRACK3, "track3-syntax")):
        raise DecryptionFailedError("track3-syntax")
    return PartRead()


def _track2_fields(text: str, entry_mode: EntryMode) -> PartRead:
    fields = _TRACK2.fullmatch(text)
    if fields is None:
        raise DecryptionFailedError("track2-syntax")
    return PartRead(
        pan=pan_of(fields["pan"]),
        expiry=_expiry(fields["expiry"]),
        service_code=_service_code(fields["service_code"]),
        track2=SensitiveText(text),
        entry_mode=entry_mode,
    )


def _text(data: bytes, max_characters: int, stage: str) -> str:
    """The track up to its end sentinel, or up to the padding when there is none; one character for each byte."""
    _bound(data)
    end = data.find(_END_SENTINEL) + 1
    track, trailer = (data[:end], data[end:]) if end else (strip_padding(data), b"")
    if len(track) > max_characters or not _is_trailer(trailer):
        raise DecryptionFailedError(stage)
    return track.decode(
        "latin-1"
    )  # takes every byte, so that no decoder's error can carry the track


def _is_trailer(data: bytes) -> bool:
    return is_padding(data) or (data[:1].isascii() and is_padding(data[1:]))


def _bound(data: bytes) -> None:
    if len(data) > _MAX_PART_BYTES:
        raise DecryptionFailedError("part-size")


def _expiry(yymm: str) -> Expiry | None:
    return Expiry.from_yymm(yymm) if yymm.isdigit() else None


def _service_code(digits: str) -> SensitiveText | None:
    return SensitiveText(digits) if digits.isdigit() else None
