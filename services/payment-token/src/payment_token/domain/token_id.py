"""The payment token's own name: ``pt_`` and 36 letters.

The letters are the hexadecimal digits of 16 random bytes and of a 16-bit day, written with sixteen consonants: no
digit occurs, so no scanner takes a token for a card number, and no word can be spelt. Nothing of the card goes in
(PCI tokenization guidelines: a token must not lead back to its PAN).

The day is the purge day: the first UTC day on which everything that expired the day before is dropped. It lets a
look-up go straight to the one partition that can hold the token.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from payment_token.domain.errors import TokenNotFoundError

RANDOM_BYTES = 16

_PREFIX = "pt_"
_DIGITS = "0123456789abcdef"
_LETTERS = "bcdfghjkmnpqrstv"
_TO_LETTERS = str.maketrans(_DIGITS, _LETTERS)
_TO_DIGITS = str.maketrans(_LETTERS, _DIGITS)
_FORM = re.compile(rf"{_PREFIX}[{_LETTERS}]{{36}}")
_FIRST_DAY = date(1970, 1, 1)
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TokenId:
    text: str
    purge_day: date

    @classmethod
    def new(cls, random: bytes, expires_at: datetime) -> Self:
        """Names a token that expires at ``expires_at``; ``random`` is 16 bytes from the system's generator."""
        if len(random) != RANDOM_BYTES:
            raise ValueError(f"a token id takes {RANDOM_BYTES} random bytes")
        purge_day = expires_at.astimezone(UTC).date() + _ONE_DAY
        raw = random + (purge_day - _FIRST_DAY).days.to_bytes(2, "big")
        return cls(_PREFIX + raw.hex().translate(_TO_LETTERS), purge_day)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises TokenNotFoundError for text that cannot be a token id: it is like any other unknown token."""
        if not _FORM.fullmatch(text):
            raise TokenNotFoundError
        raw = bytes.fromhex(text.removeprefix(_PREFIX).translate(_TO_DIGITS))
        return cls(text, _FIRST_DAY + timedelta(days=int.from_bytes(raw[RANDOM_BYTES:], "big")))

    @classmethod
    def readable(cls, text: str) -> Self | None:
        """``None`` for text that cannot be a token id."""
        try:
            return cls.parse(text)
        except TokenNotFoundError:
            return None

    def __str__(self) -> str:
        return self.text
