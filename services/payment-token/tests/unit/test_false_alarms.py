"""How often identifiers that are no card numbers are refused: never more than docs/errors.md says."""

import random
import re
import uuid
from collections.abc import Callable

import pytest

from payment_token.api.errors_page import errors_page
from payment_token.domain.cleartext_guard import find_card_number
from tests.support.long_form import usual_or_long

NUMBER = usual_or_long(20_000, 1_000_000)

# Each with the row of the page that speaks of it.
Chance = random.Random
IDENTIFIERS: dict[str, tuple[str, Callable[[Chance], str]]] = {
    "UUID version 4": ("UUID", lambda chance: str(_uuid(chance, 4))),
    "UUID version 7 or whatever": ("UUID", lambda chance: str(_uuid(chance, None))),
    "UUID version 4 without hyphens": ("UUID", lambda chance: _uuid(chance, 4).hex),
    "UUID in a path": ("UUID", lambda chance: f"orders/{_uuid(chance, 4)}/lines/1"),
    "shop order": ("up to 12 digits", lambda chance: f"A-{chance.randrange(10**6)}"),
    "twelve digits": ("up to 12 digits", lambda chance: _digits(chance, 12)),
    "date and sequence": (
        "up to 12 digits",
        lambda chance: f"202{chance.randrange(10)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
        + _digits(chance, chance.randrange(4, 11)),
    ),
    "milliseconds": (
        "up to 12 digits",
        lambda chance: str(chance.randrange(1_600_000_000_000, 2_000_000_000_000)),
    ),
    **{
        f"{length} digits": (f"{length} random digits", lambda chance, n=length: _digits(chance, n))
        for length in (13, 14, 15, 16, 19)
    },
    "17 digits": ("17 or 18 random digits", lambda chance: _digits(chance, 17)),
    "18 digits": ("17 or 18 random digits", lambda chance: _digits(chance, 18)),
    "KSN of TDES": ("KSN or", lambda chance: f"FFFF{chance.getrandbits(64):016X}"),
    "KSN of TDES without FFFF": ("KSN or", lambda chance: f"{chance.getrandbits(64):016X}"),
    "KSN of AES": ("KSN or", lambda chance: f"{chance.getrandbits(96):024X}"),
    "MD5": ("32 to 64", lambda chance: f"{chance.getrandbits(128):032X}"),
    "SHA-256": ("32 to 64", lambda chance: f"{chance.getrandbits(256):064x}"),
}


def _uuid(chance: Chance, version: int | None) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=version)


def _digits(chance: Chance, length: int) -> str:
    return f"{chance.randrange(10**length):0{length}}"


def documented(row: str) -> float:
    """The rate that the page has for what begins so."""
    (rate,) = re.findall(
        rf"^\| {re.escape(row)}[^|]*\| (none|[0-9.]+ %) \|$", errors_page(), re.MULTILINE
    )
    return 0.0 if rate == "none" else float(rate.removesuffix(" %")) / 100


@pytest.mark.parametrize(("row", "make"), IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_no_more_are_refused_than_the_page_says(row: str, make: Callable[[Chance], str]) -> None:
    chance = random.Random(row)  # noqa: S311 - the same ones in each run
    refused = sum(find_card_number(make(chance)) for _ in range(NUMBER))
    expected = documented(row) * NUMBER

    # Chance spreads a count by its square root.
    assert refused <= expected + 4 * expected**0.5
    if expected > 100:
        # Nor does the page frighten anybody. A row may speak of several lengths.
        assert refused >= expected / 5
