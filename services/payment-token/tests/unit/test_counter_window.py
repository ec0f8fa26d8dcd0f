import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.counter_window import JUMP, WINDOW, CounterVerdict, CounterWindow

FRESH, JUMPED = CounterVerdict.FRESH, CounterVerdict.JUMPED
REPLAYED, BEHIND = CounterVerdict.REPLAYED, CounterVerdict.BEHIND_WINDOW


def used(*counters: int) -> CounterWindow:
    return CounterWindow().used(counters)


@pytest.mark.parametrize("counter", [0, 1, 5_000_000, 2**63 - 1])
def test_the_first_counter_may_be_any(counter: int) -> None:
    assert CounterWindow().verdict([counter]) is FRESH


@pytest.mark.parametrize(
    ("counter", "verdict"),
    [
        (5000, REPLAYED),
        (4999, FRESH),
        (5001, FRESH),
        (5000 - WINDOW + 1, FRESH),
        (5000 - WINDOW, BEHIND),
        (1, BEHIND),
        (5000 + JUMP, FRESH),
        (5000 + JUMP + 1, JUMPED),
        (2**63 - 1, JUMPED),
    ],
)
def test_at_the_edges_of_the_window(counter: int, verdict: CounterVerdict) -> None:
    assert used(5000).verdict([counter]) is verdict


def test_reads_that_were_kept_come_in_any_order_and_each_once() -> None:
    window = used(200)
    for counter in (150, 199, 1, 100, 201, 198):
        assert window.verdict([counter]) is FRESH
        window = window.used([counter])
    for counter in (150, 199, 1, 100, 201, 198, 200):
        assert window.verdict([counter]) is REPLAYED
    assert window.verdict([151]) is FRESH


def test_what_the_window_has_left_behind_stays_refused() -> None:
    assert used(1, 1 + WINDOW).verdict([1]) is BEHIND
    assert used(1, 10**12).verdict([2]) is BEHIND


def test_of_several_counters_the_worst_counts() -> None:
    assert used(5000).verdict([5001, 5000]) is REPLAYED
    assert used(5000).verdict([5001, 1]) is BEHIND
    assert used(5000).verdict([1, 5000]) is REPLAYED
    assert used(5000).verdict([5001, 5000 + JUMP + 1]) is JUMPED


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=300))
def test_no_counter_is_accepted_twice_and_the_window_never_goes_back(counters: list[int]) -> None:
    """Against a memory without bounds."""
    window, accepted, highest = CounterWindow(), set[int](), -1
    for counter in counters:
        verdict = window.verdict([counter])
        if verdict.is_fresh:
            assert counter not in accepted
            window = window.used([counter])
            accepted.add(counter)
        elif verdict is REPLAYED:
            assert counter in accepted
        else:
            assert counter <= highest - WINDOW
        highest = max(highest, counter) if verdict.is_fresh else highest
        assert window.high_water == (highest if accepted else None)
        assert window.seen < 1 << WINDOW
