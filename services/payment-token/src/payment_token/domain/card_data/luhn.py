"""The check digit of a card number (ISO/IEC 7812-1:2017 Annex B, "Luhn formula for computing modulus 10")."""

_DIGITS = b"0123456789"
_ONCE = bytes.maketrans(_DIGITS, bytes(range(10)))
_TWICE = bytes.maketrans(_DIGITS, bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))  # its digits added up


def passes_luhn(digits: str) -> bool:
    """``digits`` is ASCII digits, the check digit last."""
    number = digits.encode("ascii")
    return (sum(number[::-2].translate(_ONCE)) + sum(number[-2::-2].translate(_TWICE))) % 10 == 0
