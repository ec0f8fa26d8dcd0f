"""What one part of a read says about the card, and how parts of one read come together.

Parts of one read must tell of one card: another PAN or another expiry is refused, because a payload spliced together
from two cards would make a token that nobody presented.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

from payment_token.domain.card_data.payment_data import PAN, EntryMode, PANPart, SADPart
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveText

T = TypeVar("T")

# A chip outranks the stripe that was swiped beside it, and both outrank what was typed in.
_RANK = (EntryMode.MANUAL, EntryMode.SWIPE, EntryMode.CHIP, EntryMode.CONTACTLESS)


@dataclass(frozen=True, slots=True)
class Expiry:
    """``month`` 0 to 99, as the card has it; ``year`` 2000 to 2099."""

    month: int
    year: int

    @classmethod
    def from_yymm(cls, yymm: str) -> "Expiry":
        """From the four digits of a track or of EMV tag 5F24.

        Two digits mean this century. Cards live for at most twenty years, so none of the last century is around; a
        sliding window would instead turn a long expired card into one that is valid for decades.
        """
        return cls(month=int(yymm[2:4]), year=2000 + int(yymm[:2]))


@dataclass(frozen=True, slots=True)
class PartRead:
    """All fields are optional: track 3 gives none, and an EMV tag may carry a single one."""

    pan: PAN | None = None
    expiry: Expiry | None = None
    cardholder_name: SensitiveText | None = None
    service_code: SensitiveText | None = None
    cvv: SensitiveText | None = None
    track1: SensitiveText | None = None
    track2: SensitiveText | None = None
    emv: SensitiveText | None = None
    entry_mode: EntryMode = EntryMode.MANUAL

    def pan_part(self) -> PANPart:
        """Raises:
        DecryptionFailedError: ``no-pan``.
        """
        if self.pan is None:
            raise DecryptionFailedError("no-pan")
        month, year = (self.expiry.month, self.expiry.year) if self.expiry else (None, None)
        return PANPart(self.pan, month, year, self.cardholder_name)

    def sad_part(self) -> SADPart | None:
        fields = (self.service_code, self.cvv, self.track1, self.track2, self.emv)
        return SADPart(*fields) if any(field is not None for field in fields) else None


_NOTHING = PartRead()


def merge(reads: Iterable[PartRead]) -> PartRead:
    """One read out of its parts. Where two may differ (name, service code, track text) the first one counts.

    Raises:
        DecryptionFailedError: ``two-pans`` or ``two-expiries``.
    """
    remaining = iter(reads)
    return reduce(_joined, remaining, next(remaining, _NOTHING))


def _joined(left: PartRead, right: PartRead) -> PartRead:
    if _differ(left.pan, right.pan):
        raise DecryptionFailedError("two-pans")
    if _differ(left.expiry, right.expiry):
        raise DecryptionFailedError("two-expiries")
    return PartRead(
        pan=_first(left.pan, right.pan),
        expiry=_first(left.expiry, right.expiry),
        cardholder_name=_first(left.cardholder_name, right.cardholder_name),
        service_code=_first(left.service_code, right.service_code),
        cvv=_first(left.cvv, right.cvv),
        track1=_first(left.track1, right.track1),
        track2=_first(left.track2, right.track2),
        emv=_first(left.emv, right.emv),
        entry_mode=max(left.entry_mode, right.entry_mode, key=_RANK.index),
    )


def _differ(left: T | None, right: T | None) -> bool:
    return left is not None and right is not None and left != right


def _first(left: T | None, right: T | None) -> T | None:
    return right if left is None else left


def pan_of(digits: str) -> PAN:
    """Raises:
    DecryptionFailedError: ``pan``: not 12 to 19 ASCII digits.
    """
    with suppress(ValueError):
        return PAN(digits)
    raise DecryptionFailedError("pan")


def name_of(text: str, max_characters: int) -> SensitiveText | None:
    """A name without the blanks that fill its field; ``None`` for an empty one (contactless cards write ``" /"``).

    Raises:
        DecryptionFailedError: ``name``: too long, or characters that cannot be printed.
    """
    name = text.rstrip(" ")
    if len(name) > max_characters or not name.isprintable():
        raise DecryptionFailedError("name")
    return SensitiveText(name) if name.strip(" /") else None
