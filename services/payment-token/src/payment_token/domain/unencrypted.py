"""Finds card data that was not encrypted where a ciphertext should be: a terminal whose encryption is off, or its test mode on.

Tracks as text; packed track 2; EMV data with a card number (EMV Book 3 Annex A: tags 57, 5A, 9F6B); each also as text in
hexadecimal or base64. Each rule asks for so much structure that a ciphertext, whose bytes are random, practically never
passes for one: less than once in 10^8 payloads of any size. What is passed over here is no leak: it does not decrypt.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator

from payment_token.domain.card_data.ber_tlv import read_tlv
from payment_token.domain.card_data.brand import Brand, brand_of
from payment_token.domain.card_data.luhn import passes_luhn
from payment_token.domain.errors import CleartextCardDataError, DecryptionFailedError

# As in ``cleartext_guard``, of bytes. A run of 13 digits, at any of 4,096 places of a ciphertext, comes once in 10^15.
_TRACK = re.compile(rb"%[Bb][0-9]{12,19}\^|;[0-9]{12,19}=[0-9]")
_NUMBER = re.compile(rb"(?<![0-9])[0-9]{13,19}(?![0-9])")

# In half bytes, as hexadecimal: sentinel B, number, separator D, expiry, service code, the issuer's digits, F, and whatever
# fills up the block.
_PACKED_TRACK = re.compile(
    r"B?([0-9]{12,19})D[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3}[0-9]*(?:F[0-9A-F]?)?(?:00|FF|80)*"
)
_PACKED_NUMBER = re.compile(r"([0-9]{12,19})F?")
# A tag that holds a card number, and a length that fits: few ciphertexts have one by chance. One pattern each, which begins
# with a byte that is looked for quickly.
_TAG_57 = re.compile(rb"\x57([\x0a-\x14])")
_TAGS = (_TAG_57, re.compile(rb"\x5a[\x06-\x0a]"), re.compile(rb"\x9f\x6b[\x0a-\x14]"))

_TRACK_TAGS = (b"\x57", b"\x9f\x6b")
_NUMBER_TAG = b"\x5a"

# Which bytes are digits, as bytes: to look for a run of them so takes a tenth of what a pattern takes.
_DIGITS = bytes(byte in b"0123456789" for byte in range(256))
_SHORTEST_RUN = b"\x01" * 12

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_FILLER = b"\x00\xff\r\n\t "
# What is shorter holds no card number, however it is written.
_SHORTEST_BYTES = 8
_MOST_PACKED_BYTES = 64


def refuse_unencrypted(field: str, ciphertexts: Iterable[bytes]) -> None:
    """Raises CleartextCardDataError when one of them is card data in clear."""
    if any(map(is_unencrypted, ciphertexts)):
        raise CleartextCardDataError(field)


def is_unencrypted(data: bytes) -> bool:
    """True when what should be a ciphertext is card data in clear."""
    if len(data) < _SHORTEST_BYTES:
        return False
    return _holds_card_data(data) or any(map(_holds_card_data, _layers(data)))


def _layers(data: bytes) -> Iterator[bytes]:
    """What the bytes are the text of, in two bytes a character, hexadecimal, or base64."""
    # Text of two bytes a character has every other byte zero.
    text = data.replace(b"\x00", b"").strip(_FILLER)
    if not text.isascii():
        return
    if len(text) < len(data):
        yield text
    if _HEX.fullmatch(text):
        yield bytes.fromhex(text.decode("ascii"))
    if _BASE64.fullmatch(text):
        try:
            yield base64.b64decode(text + b"=" * (-len(text) % 4))
        except binascii.Error:
            return


def _holds_card_data(data: bytes) -> bool:
    return _holds_text(data) or _is_packed_track(data) or _holds_emv(data)


def _holds_text(data: bytes) -> bool:
    if _SHORTEST_RUN not in data.translate(_DIGITS):
        return False
    return _TRACK.search(data) is not None or any(
        _is_issued(number[0].decode("ascii")) for number in _NUMBER.finditer(data)
    )


def _is_packed_track(data: bytes) -> bool:
    if len(data) > _MOST_PACKED_BYTES:
        return False
    track = _PACKED_TRACK.fullmatch(data.hex().upper())
    return track is not None and _is_issued(track[1])


def _holds_emv(data: bytes) -> bool:
    if not any(tag.search(data) for tag in _TAGS):
        return False
    # Where data is not TLV as a whole, tag 57 counts anywhere: so much of its value is settled.
    return _is_tlv_of_a_card(data) or any(map(_is_packed_track, _values_of_57(data)))


def _is_tlv_of_a_card(data: bytes) -> bool:
    try:
        elements = read_tlv(data).elements
    except DecryptionFailedError:
        return False
    for element in elements:
        value = element.value.reveal()
        if element.tag in _TRACK_TAGS and _is_packed_track(value):
            return True
        if element.tag == _NUMBER_TAG and _is_packed_number(value):
            return True
    return False


def _is_packed_number(data: bytes) -> bool:
    number = _PACKED_NUMBER.fullmatch(data.hex().upper())
    return number is not None and _is_issued(number[1])


def _values_of_57(data: bytes) -> Iterator[bytes]:
    for tag in _TAG_57.finditer(data):
        value = data[tag.end() : tag.end() + tag[1][0]]
        if len(value) == tag[1][0]:
            yield value


def _is_issued(number: str) -> bool:
    return brand_of(number) is not Brand.UNKNOWN and passes_luhn(number)
