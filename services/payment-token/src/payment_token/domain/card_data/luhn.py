"""The check digit of a card number (ISO/IEC 7812-1:2017 Annex B, "Luhn formula for computing modulus 10")."""

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice the digit, with its own digits added up


def passes_luhn(digits: str) -> bool:
    """``digits`` is ASCII digits, the check digit last."""
    numbers = [ord(digit) - ord("0") for digit in reversed(digits)]
    return (sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0
