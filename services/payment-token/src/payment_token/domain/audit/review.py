"""The daily review of the audit log (PCI DSS 10.4.1): what of the last day is not as the days before it.

A finding is a question to a person, not a verdict. What is asked about:

- a worker that released card data and had released none in the days before
- an hour in which a worker released far more than in its busiest hour before
- a worker many of whose requests were refused
- a worker that asked for so much more than its rate or budget that the refusals were counted
- releases that were taken back, because it was not known whether their records were durable
- hours without a record, where there is one in every hour usually
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SPIKE_FACTOR = 3
SPIKE_FLOOR = 100
"""Releases in an hour below which nothing is a spike."""
REFUSED_FLOOR = 10
REFUSED_SHARE = 0.2

_HOUR = timedelta(hours=1)
_RELEASES = "decrypt"
_TAKEN_BACK = "not_released"
_COUNTED = "requests_refused"


@dataclass(frozen=True, slots=True)
class HourOfIdentity:
    """How many records of one kind name one identity in the hour from ``hour`` on."""

    hour: datetime
    event: str
    identity: str
    released: int
    refused: int
    records: int


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    identity: str
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """``workers`` are released and refused requests of the window, by identity; ``events`` records by kind."""

    findings: Sequence[Finding]
    workers: dict[str, tuple[int, int]]
    events: Counter[str]


def review(hours: Iterable[HourOfIdentity], since: datetime, until: datetime) -> Review:
    """``hours`` are those of the window from ``since`` to ``until``, and of the days before, which it is measured by.

    The first and the last hour of the window may be part of it only.
    """
    before: list[HourOfIdentity] = []
    window: list[HourOfIdentity] = []
    for each in hours:
        (window if each.hour + _HOUR > since else before).append(each)
    events: Counter[str] = Counter()
    for each in window:
        events[each.event] += each.records
    workers = _by_worker(window)
    findings = [
        *_new_workers(workers, _by_worker(before)),
        *_spikes(window, before),
        *_refusals(workers),
        *_over_limits(window),
        *_taken_back(events),
        *_silent_hours(window, before, since, until),
    ]
    return Review(findings, workers, events)


def _by_worker(hours: Sequence[HourOfIdentity]) -> dict[str, tuple[int, int]]:
    released: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for each in hours:
        if each.event == _RELEASES:
            released[each.identity] += each.released
            refused[each.identity] += each.refused
    return {name: (released[name], refused[name]) for name in sorted(released)}


def _new_workers(
    workers: dict[str, tuple[int, int]], before: dict[str, tuple[int, int]]
) -> Iterator[Finding]:
    if not before:
        # A deployment that is new has nothing to be measured by.
        return
    for identity, (released, _) in workers.items():
        if released and not before.get(identity, (0, 0))[0]:
            yield Finding(
                "new worker", identity, f"released {released:,} times, and never in the days before"
            )


def _spikes(
    window: Sequence[HourOfIdentity], before: Sequence[HourOfIdentity]
) -> Iterator[Finding]:
    busiest: defaultdict[str, int] = defaultdict(int)
    for each in before:
        busiest[each.identity] = max(busiest[each.identity], each.released)
    for each in window:
        usual = busiest[each.identity]
        if usual and each.released > max(SPIKE_FLOOR, SPIKE_FACTOR * usual):
            yield Finding(
                "spike",
                each.identity,
                f"{each.released:,} releases in the hour from {each.hour:%Y-%m-%d %H:%M}; at most {usual:,} before",
            )


def _refusals(workers: dict[str, tuple[int, int]]) -> Iterator[Finding]:
    for identity, (released, refused) in workers.items():
        if refused >= REFUSED_FLOOR and refused > REFUSED_SHARE * (released + refused):
            yield Finding(
                "refusals", identity, f"{refused:,} of {released + refused:,} requests were refused"
            )


def _over_limits(window: Sequence[HourOfIdentity]) -> Iterator[Finding]:
    counted: Counter[str] = Counter()
    for each in window:
        if each.event == _COUNTED:
            counted[each.identity] += each.records
    for identity, records in sorted(counted.items()):
        yield Finding(
            "over limits",
            identity,
            f"its rate or budget refused more than it had; {records:,} records count what was refused",
        )


def _taken_back(events: Counter[str]) -> Iterator[Finding]:
    if events[_TAKEN_BACK]:
        yield Finding(
            "taken back",
            "",
            f"{events[_TAKEN_BACK]:,} records of releases whose card data never left: the database failed meanwhile",
        )


def _silent_hours(
    window: Sequence[HourOfIdentity],
    before: Sequence[HourOfIdentity],
    since: datetime,
    until: datetime,
) -> Iterator[Finding]:
    heard_before = {each.hour for each in before}
    if not heard_before:
        return
    span = int((since - min(heard_before)) / _HOUR)
    if span < 1 or len(heard_before) < span:
        return
    heard = {each.hour for each in window}
    hour = (since + _HOUR).replace(minute=0, second=0, microsecond=0)
    silent = []
    while hour + _HOUR <= until:
        if hour not in heard:
            silent.append(hour)
        hour += _HOUR
    if silent:
        yield Finding(
            "silence",
            "",
            f"{len(silent)} hours without a record, the first from {silent[0]:%Y-%m-%d %H:%M};"
            " there was one in every hour before",
        )
