"""What a daily review asks about, and what it does not."""

from datetime import UTC, datetime, timedelta

from payment_token.domain.audit.review import HourOfIdentity, Review, review

UNTIL = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
SINCE = UNTIL - timedelta(hours=24)
FIRST_HOUR = datetime(2026, 11, 23, 13, tzinfo=UTC)


def hour(
    number: int,
    identity: str = "spiffe://w",
    released: int = 10,
    refused: int = 0,
    event: str = "decrypt",
) -> HourOfIdentity:
    """``number`` counts from the first whole hour of the window; those before it are negative."""
    at = FIRST_HOUR + timedelta(hours=number)
    return HourOfIdentity(at, event, identity, released, refused, released + refused)


DAYS_BEFORE = [hour(number) for number in range(-72, -1)]
USUAL = [*DAYS_BEFORE, *(hour(number) for number in range(23))]


def of(*hours: HourOfIdentity) -> Review:
    return review(hours, SINCE, UNTIL)


def kinds(found: Review) -> list[tuple[str, str]]:
    return [(finding.what, finding.identity) for finding in found.findings]


def test_a_day_as_any_other_is_nothing_unusual() -> None:
    found = of(*USUAL)

    assert found.findings == []
    assert found.workers == {"spiffe://w": (230, 0)}
    assert found.events == {"decrypt": 230}


def test_a_worker_that_was_not_there_before() -> None:
    assert kinds(of(*USUAL, hour(3, "spiffe://new", released=1))) == [
        ("new worker", "spiffe://new")
    ]


def test_one_that_was_only_refused_before_is_new_when_it_gets_something() -> None:
    refused_before = hour(-5, "spiffe://new", released=0, refused=1)

    assert kinds(of(*USUAL, refused_before, hour(3, "spiffe://new", released=1))) == [
        ("new worker", "spiffe://new")
    ]


def test_nothing_is_new_in_a_deployment_that_is() -> None:
    assert of(hour(1), hour(2, "spiffe://other", released=90_000)).findings == []


def test_an_hour_that_is_far_above_the_busiest_before() -> None:
    spike = hour(5, released=101)

    assert kinds(of(*DAYS_BEFORE, *(hour(n) for n in range(23) if n != 5), spike)) == [
        ("spike", "spiffe://w")
    ]


def test_three_times_the_busiest_hour_and_a_hundred_are_none() -> None:
    for busiest, released in ((10, 100), (50, 150)):
        before = [hour(number, released=busiest) for number in range(-72, -1)]
        assert (
            of(*before, *(hour(number, released=released) for number in range(23))).findings == []
        )


def test_a_worker_that_is_refused_often() -> None:
    others = [each for each in USUAL if each.hour < FIRST_HOUR or each.hour > FIRST_HOUR]

    assert kinds(of(*others, hour(0, released=10, refused=80))) == [("refusals", "spiffe://w")]
    assert of(*others, hour(0, released=10, refused=40)).findings == []


def test_a_few_refusals_are_not_many() -> None:
    stranger = hour(4, "", released=0, refused=9)

    assert of(*USUAL, stranger).findings == []
    assert kinds(of(*USUAL, stranger, hour(5, "", released=0, refused=1))) == [("refusals", "")]


def test_releases_that_were_taken_back() -> None:
    back = HourOfIdentity(FIRST_HOUR, "not_released", "spiffe://w", 0, 0, 2)

    assert kinds(of(*USUAL, back)) == [("taken back", "")]


def test_hours_without_a_record() -> None:
    with_a_gap = [each for each in USUAL if each.hour != FIRST_HOUR + timedelta(hours=7)]

    assert kinds(of(*with_a_gap)) == [("silence", "")]


def test_a_log_that_is_silent_now_and_then_is_so_today() -> None:
    sparse = [each for each in USUAL if each.hour.hour % 2]

    assert of(*sparse).findings == []


def test_a_worker_whose_refusals_had_to_be_counted() -> None:
    counted = [hour(number, released=0, refused=3, event="requests_refused") for number in (4, 5)]

    (finding,) = of(*USUAL, *counted).findings

    assert (finding.what, finding.identity) == ("over limits", "spiffe://w")
    assert "6 records" in finding.text
