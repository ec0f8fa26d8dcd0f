"""What a simulated terminal reads from a published test card, in each format."""

import json

from payment_token.cli.published_cards import PublishedCard
from payment_token.domain.device_payload import PartFormat
from payment_token.settings import ConfigurationError


def card_read(card: PublishedCard, part: PartFormat) -> bytes:
    """The plaintext of a part. Raises ConfigurationError for a format that is not simulated."""
    if part is PartFormat.TRACK1:
        return card.track1.encode("ascii")
    if part is PartFormat.TRACK2:
        return card.track2.encode("ascii")
    if part is PartFormat.EMV_TLV:
        return _element("5A", card.pan) + _element("57", card.track2.strip(";?").replace("=", "D"))
    if part is not PartFormat.CARD_JSON:
        raise ConfigurationError(f"The virtual terminal does not send {part}.")
    month, year = int(card.expiry_yymm[2:]), 2000 + int(card.expiry_yymm[:2])
    fields = {
        "pan": card.pan,
        "exp_month": month,
        "exp_year": year,
        "cardholder_name": card.name,
        "cvv": "123",
    }
    return json.dumps(fields).encode()


def _element(tag: str, digits: str) -> bytes:
    value = bytes.fromhex(digits + "F" * (len(digits) % 2))
    return bytes.fromhex(tag) + bytes((len(value),)) + value
