import os
import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.errors import TokenNotFoundError
from payment_token.domain.token_id import RANDOM_BYTES, TokenId

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(2149, 6, 5, 23, 59, 59, 999_999, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
GOOD = "pt_" + "bcdfghjkmnpqrstv" * 2 + "bcdf"

randoms = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
expiries = st.timedeltas(timedelta(0), LAST - EPOCH).map(EPOCH.__add__)


@given(randoms, expiries)
@example(bytes(16), EPOCH)
@example(b"\xff" * 16, LAST)
def test_it_is_the_prefix_and_36_consonants(random, expires_at):
    text = TokenId.new(random, expires_at).text
    assert re.fullmatch("pt_[bcdfghjkmnpqrstv]{36}", text)
    assert not any(character.isdigit() for character in text)
    assert not find_card_number(text)


@given(randoms, expiries)
@example(bytes(16), EPOCH)
@example(b"\xff" * 16, LAST)
def test_parsing_gives_back_what_was_named(random, expires_at):
    named = TokenId.new(random, expires_at)
    assert TokenId.parse(named.text) == named
    assert TokenId.parse(named.text).text == named.text == str(named)


@given(st.text("bcdfghjkmnpqrstv", min_size=36, max_size=36))
def test_every_text_of_the_form_is_an_id(letters):
    assert TokenId.parse(f"pt_{letters}").text == f"pt_{letters}"


def test_two_tokens_differ():
    count = 10_000
    ids = {TokenId.new(os.urandom(RANDOM_BYTES), NOON).text for _ in range(count)}
    assert len(ids) == count


@given(randoms, randoms)
def test_the_text_is_the_randomness_and_the_day_alone(one, other):
    same = TokenId.new(one, NOON).text == TokenId.new(other, NOON).text
    assert same is (one == other)
    assert TokenId.new(one, NOON) == TokenId.new(one, NOON + timedelta(hours=1))
    assert TokenId.new(one, NOON) != TokenId.new(one, NOON + timedelta(days=1))


MIDNIGHT = datetime(2026, 7, 2, tzinfo=UTC)
PURGE_DAYS = {
    "a microsecond before midnight": (MIDNIGHT - timedelta(microseconds=1), date(2026, 7, 2)),
    "midnight": (MIDNIGHT, date(2026, 7, 3)),
    "a microsecond after midnight": (MIDNIGHT + timedelta(microseconds=1), date(2026, 7, 3)),
    "already tomorrow in the east, today in UTC": (
        datetime(2026, 7, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))),
        date(2026, 7, 2),
    ),
    "still today in the west, tomorrow in UTC": (
        datetime(2026, 7, 1, 23, 0, tzinfo=timezone(timedelta(hours=-7))),
        date(2026, 7, 3),
    ),
    "the last day of a year": (datetime(2026, 12, 31, 12, tzinfo=UTC), date(2027, 1, 1)),
    "the day before a leap day": (datetime(2028, 2, 28, 12, tzinfo=UTC), date(2028, 2, 29)),
    "the first day that fits": (EPOCH, date(1970, 1, 2)),
    "the last day that fits": (LAST, date(2149, 6, 6)),
}


@pytest.mark.parametrize(("expires_at", "day"), PURGE_DAYS.values(), ids=PURGE_DAYS)
def test_the_purge_day_is_the_day_after_the_expiry_in_utc(expires_at, day):
    named = TokenId.new(bytes(16), expires_at)
    assert named.purge_day == day
    assert TokenId.parse(named.text).purge_day == day


@given(randoms, expiries)
def test_nothing_is_purged_before_it_expired(random, expires_at):
    purged_from = datetime.combine(
        TokenId.new(random, expires_at).purge_day, datetime.min.time(), UTC
    )
    assert timedelta(0) < purged_from - expires_at <= timedelta(days=1)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_it_takes_16_random_bytes(size):
    with pytest.raises(ValueError, match="16 random bytes"):
        TokenId.new(bytes(size), NOON)


HOSTILE = {
    "nothing": "",
    "the prefix": "pt_",
    "a letter short": GOOD[:-1],
    "a letter long": GOOD + "b",
    "another prefix": "tk_" + GOOD[3:],
    "no prefix": GOOD[3:],
    "two prefixes": "pt_" + GOOD,
    "upper case": GOOD.upper(),
    "an upper-case prefix": "PT_" + GOOD[3:],
    "an upper-case letter": GOOD[:-1] + "F",
    "a vowel": GOOD[:-1] + "a",
    "a consonant that is none of the sixteen": GOOD[:-1] + "z",
    "a digit": GOOD[:-1] + "1",
    "hexadecimal": "pt_" + "0123456789abcdef" * 2 + "4f2a",
    "a card number": "4111111111111111",
    "a line feed behind": GOOD + "\n",
    "a line feed in front": "\n" + GOOD,
    "a NUL behind": GOOD + "\0",
    "a NUL for a letter": GOOD[:-1] + "\0",
    "blanks around": f" {GOOD} ",
    "a full-width letter": GOOD[:-1] + "\uff42",
    "a Cyrillic letter": GOOD[:-1] + "\u0441",
    "an accent behind a letter": GOOD[:-1] + "\u0301",
    "half of a surrogate pair": GOOD[:-1] + "\ud800",
    "a path": "pt_../../../../etc/passwd",
    "SQL": "pt_' OR '1'='1",
    "percent signs": "pt_" + "%62" * 12,
    "a megabyte": "pt_" + "b" * 1_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_an_id_is_like_any_unknown_token(text):
    with pytest.raises(TokenNotFoundError) as refusal:
        TokenId.parse(text)
    assert refusal.value.args == (TokenNotFoundError.default_detail,)
    assert refusal.value.__context__ is None


@given(st.text(max_size=60))
def test_any_text_is_an_id_or_an_unknown_token(text):
    try:
        parsed = TokenId.parse(text)
    except TokenNotFoundError:
        return
    assert parsed.text == text
