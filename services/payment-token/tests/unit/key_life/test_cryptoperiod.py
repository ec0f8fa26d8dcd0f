"""When a version is due, warned of, and closed: to the microsecond."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.key_life.cryptoperiod import WARN_DAYS, Cryptoperiod, Standing

PERIOD = Cryptoperiod(length=timedelta(days=90), grace=timedelta(days=14))
ACTIVATED = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def at(days: float, ticks: int = 0) -> datetime:
    return ACTIVATED + timedelta(days=days) + ticks * TICK


@pytest.mark.parametrize(
    ("moment", "standing", "warning"),
    [
        (at(0), Standing.CURRENT, None),
        (at(76, -1), Standing.CURRENT, None),
        (at(76), Standing.DUE_SOON, 14),
        (at(83, -1), Standing.DUE_SOON, 14),
        (at(83), Standing.DUE_SOON, 7),
        (at(89, -1), Standing.DUE_SOON, 7),
        (at(89), Standing.DUE_SOON, 1),
        (at(90, -1), Standing.DUE_SOON, 1),
        (at(90), Standing.DUE, 0),
        (at(104, -1), Standing.DUE, 0),
        (at(104), Standing.CLOSED, 0),
        (at(10_000), Standing.CLOSED, 0),
        (at(-1), Standing.CURRENT, None),  # activated by a clock that ran ahead
    ],
)
def test_boundaries(moment, standing, warning):
    assert PERIOD.standing(ACTIVATED, moment) is standing
    assert PERIOD.warning_days(ACTIVATED, moment) == warning


def test_the_days_of_the_requirement():
    assert WARN_DAYS == (14, 7, 1)
    assert PERIOD.due_at(ACTIVATED) == datetime(2026, 4, 1, tzinfo=UTC)
    assert PERIOD.closes_at(ACTIVATED) == datetime(2026, 4, 15, tzinfo=UTC)


def test_time_zones_do_not_move_the_end():
    moment = at(90).astimezone(timezone(timedelta(hours=-11)))
    assert PERIOD.standing(ACTIVATED, moment) is Standing.DUE
    assert PERIOD.standing(ACTIVATED, moment - TICK) is Standing.DUE_SOON


def test_without_grace_a_due_version_is_closed():
    period = Cryptoperiod(timedelta(days=1), timedelta(0))
    assert period.standing(ACTIVATED, at(1)) is Standing.CLOSED
    assert period.standing(ACTIVATED, at(1, -1)) is Standing.DUE_SOON


def test_a_short_period_is_warned_of_from_its_start():
    assert Cryptoperiod(timedelta(days=3), timedelta(0)).warning_days(ACTIVATED, ACTIVATED) == 7


ORDER = list(Standing)


@given(st.timedeltas(timedelta(0), timedelta(days=200)), st.timedeltas(timedelta(0), timedelta(9)))
def test_a_standing_only_ever_gets_worse(since, later):
    now = ACTIVATED + since
    one, other = PERIOD.standing(ACTIVATED, now), PERIOD.standing(ACTIVATED, now + later)
    assert ORDER.index(one) <= ORDER.index(other)
    first, second = (PERIOD.warning_days(ACTIVATED, moment) for moment in (now, now + later))
    assert (15 if first is None else first) >= (15 if second is None else second)
