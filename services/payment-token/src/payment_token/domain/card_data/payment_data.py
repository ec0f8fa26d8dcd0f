"""What a card read comes to: the part that may be kept, and the part that must die.

The two are apart from the start. The PAN part is cardholder data, which a token keeps for its whole life. The SAD part
(PCI DSS 4.0.1 3.3.1: track and EMV data, card verification code, and the service code, which is only found there) has
a field, a sealed record and an end of its own.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from payment_token.domain.card_data.brand import Brand, brand_of
from payment_token.domain.sensitive import Sensitive, SensitiveText

_PAN = re.compile(r"[0-9]{12,19}")
_MONTHS_AS_READ = range(100)  # lenient policies take a month such as 82, and flag it
_YEARS = range(2000, 2100)


class PAN(Sensitive[str]):
    """A primary account number: 12 to 19 ASCII digits (ISO/IEC 7812-1). Its Luhn digit may be wrong.

    Raises:
        ValueError: the text is anything else.
    """

    __slots__ = ()

    def __init__(self, value: str) -> None:
        if not _PAN.fullmatch(value):
            raise ValueError("a PAN is 12 to 19 ASCII digits")
        super().__init__(value)

    @property
    def bin(self) -> str:
        """The first six digits, which with the last four may be shown (PCI DSS 4.0.1 3.4.1)."""
        return self.reveal()[:6]

    @property
    def last4(self) -> str:
        return self.reveal()[-4:]

    @property
    def brand(self) -> Brand:
        return brand_of(self.reveal())


class EntryMode(StrEnum):
    """How the card was read. A worker needs it for the network's POS entry mode."""

    SWIPE = "swipe"
    CHIP = "chip"
    CONTACTLESS = "contactless"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class PANPart:
    """Cardholder data. ``exp_month`` as the card has it (1 to 12 when it is valid), ``exp_year`` with four digits.

    Raises:
        ValueError: half an expiry, a month outside 0 to 99 or a year outside 2000 to 2099.
    """

    pan: PAN
    exp_month: int | None
    exp_year: int | None
    cardholder_name: SensitiveText | None

    def __post_init__(self) -> None:
        if self.exp_month is None and self.exp_year is None:
            return
        if self.exp_month not in _MONTHS_AS_READ or self.exp_year not in _YEARS:
            raise ValueError("an expiry is a month and a year of this century")


@dataclass(frozen=True, slots=True)
class SADPart:
    """Sensitive authentication data. At least one field is there.

    ``track1`` and ``track2`` run from start to end sentinel as they were read, without LRC and padding; a packed
    track 2 (EMV tag 57) is its text ``PAN=YYMM…``. ``emv`` is the upper-case hexadecimal of the TLV as it was
    decrypted, without padding at its end.
    """

    service_code: SensitiveText | None = None
    cvv: SensitiveText | None = None
    track1: SensitiveText | None = None
    track2: SensitiveText | None = None
    emv: SensitiveText | None = None


@dataclass(frozen=True, slots=True)
class CardChecks:
    """``expired`` is false where no (or no possible) expiry is known; ``expiry_valid`` is false for a month 82."""

    luhn: bool
    expired: bool
    expiry_valid: bool


@dataclass(frozen=True, slots=True)
class PaymentData:
    """All that one read of one card gave."""

    pan_part: PANPart
    sad_part: SADPart | None
    entry_mode: EntryMode
    checks: CardChecks


@dataclass(frozen=True, slots=True)
class MaskedCard:
    """What may be shown and stored in clear."""

    brand: Brand
    bin: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    entry_mode: EntryMode
    checks: CardChecks


def mask(payment_data: PaymentData) -> MaskedCard:
    card = payment_data.pan_part
    return MaskedCard(
        brand=card.pan.brand,
        bin=card.pan.bin,
        last4=card.pan.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        entry_mode=payment_data.entry_mode,
        checks=payment_data.checks,
    )
