"""Whatever life a token may have, there is a partition for it on the day that it is made."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.maintain import needed_purge_days
from payment_token.domain.token_id import RANDOM_BYTES, TokenId

TODAY = date(2026, 2, 28)


@given(
    max_hours=st.integers(1, 9600),
    second_of_day=st.integers(0, 86_399),
    share=st.floats(0, 1),
)
def test_every_token_that_may_be_made_today_has_its_day(
    max_hours: int, second_of_day: int, share: float
) -> None:
    longest = timedelta(hours=max_hours)
    created_at = datetime(2026, 2, 28, tzinfo=UTC) + timedelta(seconds=second_of_day)
    lives = (timedelta(seconds=1), timedelta(seconds=1 + share * (max_hours * 3600 - 1)), longest)

    needed = needed_purge_days(TODAY, longest)

    for life in lives:
        token = TokenId.new(bytes(RANDOM_BYTES), created_at + life)
        assert token.purge_day in needed
        assert token.purge_day > TODAY, "a token must not be due for purging on the day it is made"


def test_no_day_more_than_a_token_may_need() -> None:
    days = needed_purge_days(TODAY, timedelta(hours=9600))

    assert (days[0], days[-1]) == (date(2026, 3, 1), TODAY + timedelta(days=401))
