"""Is this a card that can be used? What a policy refuses, and what it only flags."""

from datetime import UTC, datetime
from enum import StrEnum

from payment_token.domain.card_data.luhn import passes_luhn
from payment_token.domain.card_data.payment_data import CardChecks, PANPart
from payment_token.domain.errors import DecryptionFailedError

_MONTHS = range(1, 13)


class CardChecksPolicy(StrEnum):
    """``LENIENT`` takes the cards of test beds, whose check digits and months are often made up, and flags them."""

    STRICT = "strict"
    LENIENT = "lenient"


def check_card(card: PANPart, policy: CardChecksPolicy, now: datetime) -> CardChecks:
    """``now`` is aware of its time zone.

    A card is good until the last instant of its month. One past that is flagged and taken under both policies: refunds
    come late, and issuers answer for expired cards. A month is counted in UTC, as no track tells the issuer's zone.

    Raises:
        DecryptionFailedError: ``luhn`` or ``expiry``, under ``STRICT`` only.
    """
    checks = CardChecks(
        luhn=passes_luhn(card.pan.reveal()),
        expired=_is_expired(card, now),
        expiry_valid=card.exp_month is None or card.exp_month in _MONTHS,
    )
    if policy is CardChecksPolicy.STRICT and not checks.luhn:
        raise DecryptionFailedError("luhn")
    if policy is CardChecksPolicy.STRICT and not checks.expiry_valid:
        raise DecryptionFailedError("expiry")
    return checks


def _is_expired(card: PANPart, now: datetime) -> bool:
    if card.exp_month is None or card.exp_year is None or card.exp_month not in _MONTHS:
        return False
    today = now.astimezone(UTC)
    return (today.year, today.month) > (card.exp_year, card.exp_month)
