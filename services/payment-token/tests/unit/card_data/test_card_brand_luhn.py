import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.card_data import Brand, brand_of, passes_luhn

TEST_CARDS = {  # numbers that the brands' and processors' documentation gives for tests
    "4111111111111111": Brand.VISA,
    "4222222222222": Brand.VISA,
    "4000000000000000006": Brand.VISA,
    "5555555555554444": Brand.MASTERCARD,
    "5105105105105100": Brand.MASTERCARD,
    "2223003122003222": Brand.MASTERCARD,
    "378282246310005": Brand.AMEX,
    "343434343434343": Brand.AMEX,
    "6011111111111117": Brand.DISCOVER,
    "6011000990139424": Brand.DISCOVER,
    "30569309025904": Brand.DINERS,
    "36227206271667": Brand.DINERS,
    "3530111333300000": Brand.JCB,
    "3566002020360505": Brand.JCB,
    "6205500000000000004": Brand.UNIONPAY,
    "6200000000000005": Brand.UNIONPAY,
    "6759649826438453": Brand.MAESTRO,
    "501800000009": Brand.MAESTRO,
}


@pytest.mark.parametrize(("pan", "brand"), TEST_CARDS.items())
def test_a_published_test_card_has_its_brand_and_check_digit(pan, brand):
    assert brand_of(pan) is brand
    assert passes_luhn(pan)


@pytest.mark.parametrize(
    ("prefix", "length", "brand"),
    [
        ("2220", 16, "unknown"),
        ("2221", 16, "mastercard"),
        ("2720", 16, "mastercard"),
        ("2721", 16, "unknown"),
        ("50", 16, "maestro"),
        ("51", 16, "mastercard"),
        ("55", 16, "mastercard"),
        ("56", 16, "maestro"),
        ("51", 15, "unknown"),
        ("643", 16, "unknown"),
        ("644", 16, "discover"),
        ("649", 19, "discover"),
        ("65", 16, "discover"),
        ("3527", 16, "unknown"),
        ("3528", 16, "jcb"),
        ("3589", 16, "jcb"),
        ("3590", 16, "unknown"),
        ("300", 14, "diners"),
        ("306", 14, "unknown"),
        ("3095", 14, "diners"),
        ("39", 16, "diners"),
        ("817", 16, "unionpay"),
        ("818", 16, "unknown"),
        ("4", 15, "unknown"),
        ("37", 16, "unknown"),
        ("9", 16, "unknown"),
        ("0", 16, "unknown"),
    ],
)
def test_the_edges_of_ranges(prefix, length, brand):
    assert brand_of(prefix.ljust(length, "0")) == brand


@pytest.mark.parametrize("digits", ["", "4", "41"])
def test_too_short_for_a_card_is_unknown(digits):
    assert brand_of(digits) is Brand.UNKNOWN


def check_digit(body: str) -> str:
    return next(digit for digit in "0123456789" if passes_luhn(body + digit))


@given(st.text("0123456789", min_size=11, max_size=18), st.data())
def test_luhn_finds_every_single_wrong_digit(body, data):
    pan = body + check_digit(body)
    place = data.draw(st.integers(0, len(pan) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != pan[place]]))
    assert not passes_luhn(pan[:place] + wrong + pan[place + 1 :])


@given(st.text("0123456789", min_size=11, max_size=18))
def test_exactly_one_check_digit_is_right(body):
    assert sum(passes_luhn(body + digit) for digit in "0123456789") == 1


def test_the_example_of_the_standard():
    assert check_digit("7992739871") == "3"
