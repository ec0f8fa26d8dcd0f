"""Which brand issued a card number: the issuer identification ranges of ISO/IEC 7812, as the brands publish them."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Brand(StrEnum):
    VISA = "visa"
    MASTERCARD = "mastercard"
    AMEX = "amex"
    DISCOVER = "discover"
    DINERS = "diners"
    JCB = "jcb"
    UNIONPAY = "unionpay"
    MAESTRO = "maestro"
    UNKNOWN = "unknown"


class _Range(NamedTuple):
    brand: Brand
    first: str
    last: str
    lengths: tuple[int, ...]


_LONG = tuple(range(16, 20))
_DINERS = tuple(range(14, 20))
_MAESTRO = tuple(range(12, 20))

_RANGES = (
    # Visa core rules, "account number": 4, of 13 (no longer issued), 16 or 19 digits.
    _Range(Brand.VISA, "4", "4", (13, 16, 19)),
    # Mastercard rules, "account range": the 5 series, and the 2 series since 2017.
    _Range(Brand.MASTERCARD, "51", "55", (16,)),
    _Range(Brand.MASTERCARD, "2221", "2720", (16,)),
    # American Express merchant specifications: 34 and 37.
    _Range(Brand.AMEX, "34", "34", (15,)),
    _Range(Brand.AMEX, "37", "37", (15,)),
    # Discover Global Network, IIN bulletin: the Discover ranges.
    _Range(Brand.DISCOVER, "6011", "6011", _LONG),
    _Range(Brand.DISCOVER, "644", "649", _LONG),
    _Range(Brand.DISCOVER, "65", "65", _LONG),
    # The same bulletin: Diners Club International (300-305, 3095, 36, 38-39).
    _Range(Brand.DINERS, "300", "305", _DINERS),
    _Range(Brand.DINERS, "3095", "3095", _DINERS),
    _Range(Brand.DINERS, "36", "36", _DINERS),
    _Range(Brand.DINERS, "38", "39", _DINERS),
    # JCB international: 3528 to 3589.
    _Range(Brand.JCB, "3528", "3589", _LONG),
    # UnionPay International: 62 and, since 2015, 810 to 817.
    _Range(Brand.UNIONPAY, "62", "62", _LONG),
    _Range(Brand.UNIONPAY, "810", "817", _LONG),
    # Mastercard rules, Maestro: 50, 56 to 58, and those ranges of 6 that it issues.
    _Range(Brand.MAESTRO, "50", "50", _MAESTRO),
    _Range(Brand.MAESTRO, "56", "58", _MAESTRO),
    _Range(Brand.MAESTRO, "6304", "6304", _MAESTRO),
    _Range(Brand.MAESTRO, "639", "639", _MAESTRO),
    _Range(Brand.MAESTRO, "67", "67", _MAESTRO),
)


def _prefixes() -> Iterator[tuple[str, _Range]]:
    for issued in _RANGES:
        for number in range(int(issued.first), int(issued.last) + 1):
            yield str(number), issued


_BY_PREFIX = dict(_prefixes())
_LONGEST_FIRST = (4, 3, 2, 1)


def brand_of(digits: str) -> Brand:
    """The brand by prefix and length; ``UNKNOWN`` for a card that none of these brands issues."""
    for size in _LONGEST_FIRST:
        issued = _BY_PREFIX.get(digits[:size])
        if issued is not None and len(digits) in issued.lengths:
            return issued.brand
    return Brand.UNKNOWN
