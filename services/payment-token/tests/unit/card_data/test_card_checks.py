from datetime import UTC, datetime, timedelta, timezone

import pytest

from payment_token.domain.card_data import PAN, CardChecks, CardChecksPolicy, PANPart
from payment_token.domain.card_data.checks import check_card
from tests.unit.card_data.card_reads import NOW, refusal

STRICT, LENIENT = CardChecksPolicy.STRICT, CardChecksPolicy.LENIENT


def card(month=12, year=2030, pan="4111111111111111"):
    return PANPart(PAN(pan), month, year, None)


@pytest.mark.parametrize("policy", CardChecksPolicy)
def test_a_good_card_passes(policy):
    assert check_card(card(), policy, NOW) == CardChecks(
        luhn=True, expired=False, expiry_valid=True
    )


@pytest.mark.parametrize("policy", CardChecksPolicy)
def test_a_card_without_expiry_passes(policy):
    checks = check_card(card(None, None), policy, NOW)
    assert checks == CardChecks(luhn=True, expired=False, expiry_valid=True)


def test_a_wrong_check_digit_is_refused_or_flagged():
    wrong = card(pan="4111111111111112")
    assert refusal(check_card, wrong, STRICT, NOW) == "luhn"
    assert not check_card(wrong, LENIENT, NOW).luhn


@pytest.mark.parametrize("month", [0, 13, 82, 99])
def test_an_impossible_month_is_refused_or_flagged(month):
    assert refusal(check_card, card(month), STRICT, NOW) == "expiry"
    checks = check_card(card(month, 2001), LENIENT, NOW)
    assert (checks.expired, checks.expiry_valid) == (False, False)


LAST_INSTANT = datetime(2030, 12, 31, 23, 59, 59, 999999, UTC)


@pytest.mark.parametrize("policy", CardChecksPolicy)
@pytest.mark.parametrize(
    ("now", "expired"),
    [
        (LAST_INSTANT, False),
        (LAST_INSTANT + timedelta(microseconds=1), True),
        (datetime(2031, 1, 1, 5, 0, tzinfo=timezone(timedelta(hours=9))), False),
        (datetime(2030, 12, 31, 20, 0, tzinfo=timezone(timedelta(hours=-9))), True),
        (datetime(2029, 12, 31, tzinfo=UTC), False),
        (datetime(2045, 1, 1, tzinfo=UTC), True),
    ],
)
def test_a_card_is_good_until_the_last_instant_of_its_month_in_utc(now, expired, policy):
    assert check_card(card(12, 2030), policy, now).expired is expired
