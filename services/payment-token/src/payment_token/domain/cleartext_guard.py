"""Finds card numbers where there must be none: metadata, identifiers, anything that is stored or logged in clear.

It guards against accidents, such as a terminal's maker who puts a track into a free field. A number counts when it
stands alone (13 to 19 digits, or in the groups of a printed card), a brand issues its prefix at its length, and its
check digit is right. Track data counts by its shape alone.
"""

import re
import unicodedata

from payment_token.domain.card_data.brand import Brand, brand_of
from payment_token.domain.card_data.luhn import passes_luhn
from payment_token.domain.errors import CleartextCardDataError

# Every pattern has a bounded length, so that the search takes linear time on any text.
_TRACK = re.compile(r"%[Bb][0-9]{12,19}\^|;[0-9]{12,19}=[0-9]")
# As a look-ahead, so that a group in front ("2030 4111 1111 1111 1111") does not swallow the start of a number.
_NUMBER = re.compile(
    r"(?<![0-9])(?=("
    r"[0-9]{13,19}"  # in one run
    r"|[0-9]{4}(?:[ _-][0-9]{4}){3}[ _-][0-9]{1,3}"  # 4-4-4-4-3, as 19 digits are printed
    r"|[0-9]{4}[ _-][0-9]{4}[ _-][0-9]{4}[ _-][0-9]{1,7}"
    r"|[0-9]{4}[ _-][0-9]{6}[ _-][0-9]{4,5}"  # American Express; Diners Club
    r")(?![0-9]))"
)
# RFC 9562, with and without hyphens. Random hexadecimal has runs of digits that pass for a card number now and then,
# and callers use it for their identifiers. The shape without hyphens asks for version and variant, because a packed
# track 2 of 16 bytes is 32 hexadecimal characters as well, with its separator where the variant stands.
_UUID = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|[0-9a-f]{12}[1-8][0-9a-f]{3}[89ab][0-9a-f]{15}"
    r")(?![0-9A-Za-z])"
)


_SHORTEST = 13  # of what any pattern here finds: most texts are names that are shorter


def refuse_card_number(field: str, text: str) -> None:
    """Raises CleartextCardDataError, which names the field."""
    if find_card_number(text):
        raise CleartextCardDataError(field)


def find_card_number(text: str) -> bool:
    """True when the text holds a card number or a track in clear. It never says where, nor which."""
    # Full-width digits and no-break spaces come from keyboards and spreadsheets.
    text = unicodedata.normalize("NFKC", text)
    if len(text) < _SHORTEST:
        return False
    if _TRACK.search(text):
        return True
    # Not a space: what stands before and behind must not become one number.
    rest = _UUID.sub("x", text)
    return any(_is_card_number(match[1]) for match in _NUMBER.finditer(rest))


def _is_card_number(printed: str) -> bool:
    digits = re.sub(r"[^0-9]", "", printed)
    return brand_of(digits) is not Brand.UNKNOWN and passes_luhn(digits)
