"""Texts that an operator chooses and that are kept in clear: names, reasons, what was searched for."""

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.settings import ConfigurationError


def checked_text(option: str, text: str) -> str:
    """Raises ConfigurationError, which does not repeat it, for a text that holds a card number."""
    if find_card_number(text):
        raise ConfigurationError(
            f"{option}: holds what looks like a card number, and would be kept in clear. Nothing was stored."
        )
    return text
