"""The chain of each writer: its records follow each other without a gap, each holds the hash of the one before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from payment_token.audit_verifier import times
from payment_token.audit_verifier.record import (
    EVENT_OF_DETACHING,
    EVENT_OF_END,
    EVENT_OF_OPENING,
    EVENT_OF_RECOVERY,
    Members,
    RecordError,
    read_members,
    read_record,
    written,
)

FIRST_PREVIOUS = b"0" * 64
_SAYING = frozenset({EVENT_OF_DETACHING, EVENT_OF_RECOVERY})
_TAIL = times.LENGTH + 1
_MONTH = len("2026-11")


@dataclass(slots=True)
class Writer:
    """How far one writer has come. ``previous`` is the hash of its last record in hexadecimal, ``None`` if not known.

    ``index`` is where in the tree that record is.
    """

    writer_id: bytes
    next_sequence: int = 0
    previous: bytes | None = FIRST_PREVIOUS
    ended: bool = False
    latest: bytes = b""
    index: int = -1


@dataclass(frozen=True, slots=True)
class Period:
    """The time in which records may have been recorded, as times are spelled; ``otherwise`` is said of others."""

    earliest: bytes
    latest: bytes
    otherwise: str = "it was not recorded in the hour of its seal"

    @classmethod
    def of(cls, before: datetime | None, sealed_at: datetime) -> "Period":
        earliest = b"" if before is None else times.spelled(before - times.MOST_OUT_OF_ORDER)
        return cls(earliest, times.spelled(sealed_at + times.MOST_OUT_OF_ORDER))


@dataclass(frozen=True, slots=True)
class Fault:
    """``offset`` is that of the record among those that were given. ``unlinked``: it is the chain that is broken there."""

    offset: int
    what: str
    unlinked: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What the log says of itself: months that have left the database, recoveries."""

    event: bytes
    details: Mapping[str, object]


@dataclass(slots=True)
class Followed:
    """``leaves`` and ``hashes`` are of the records, whatever their faults."""

    leaves: list[bytes]
    hashes: list[bytes]
    faults: list[Fault]
    said: list[Said]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Of records that follow each other; ``hashes`` in hexadecimal."""

    first: int
    times: list[bytes]
    hashes: list[bytes]
    members: Sequence[Members | tuple[bytes, ...]]


def follow(
    writer: Writer,
    first: int,
    entries: Sequence[bytes],
    months: Sequence[str | None],
    period: Period,
) -> Followed:
    """Goes on with a writer by the records from sequence ``first`` on, which is the one that it has come to."""
    leaves = [sha256(b"\0" + entry).digest() for entry in entries]
    records = [entry[:-_TAIL] for entry in entries]
    recorded = [entry[1 - _TAIL :] for entry in entries]
    hashes = [sha256(record).hexdigest().encode() for record in records]
    matches = [written(record) for record in records]
    # Nearly always all is well with all of them, which is seen at once; if not, each is looked at by itself.
    if None not in matches:
        members = [match.groups() for match in matches if match is not None]
        columns = _Columns(first, recorded, hashes, members)
        if _all_well(writer, columns, months, period):
            said = _said(records, [row[0] for row in members])
            _advance(writer, columns, ended=members[-1][0] == EVENT_OF_END)
            return Followed(leaves, hashes, [], said)
    faults: list[Fault] = []
    said = []
    for offset, record in enumerate(records):
        separator = entries[offset][-_TAIL : 1 - _TAIL]
        found = _one(
            writer, first + offset, record, separator + recorded[offset], months[offset], period
        )
        faults += [Fault(offset, what, unlinked) for what, unlinked in found.faults]
        said += found.said
    return Followed(leaves, hashes, faults, said)


def _all_well(
    writer: Writer, columns: _Columns, months: Sequence[str | None], period: Period
) -> bool:
    events, event_times, previous, sequences, writer_ids = zip(*columns.members, strict=True)
    recorded, count = columns.times, len(columns.times)
    expected = [
        previous[0] if writer.previous is None else writer.previous,
        *columns.hashes[:-1],
    ]
    try:
        close = all(map(times.are_close, event_times, recorded))
    except ValueError:
        return False
    return (
        close
        and list(previous) == expected
        and list(map(int, sequences)) == list(range(columns.first, columns.first + count))
        and writer_ids.count(writer.writer_id) == count
        and not writer.ended
        and (events[0] == EVENT_OF_OPENING) == (columns.first == 0)
        and EVENT_OF_OPENING not in events[1:]
        and EVENT_OF_END not in events[:-1]
        and times.are_times(recorded)
        and times.are_times(event_times)
        and all(
            _is_month(month, time)
            for month, time in {(m, t[:_MONTH]) for m, t in zip(months, recorded, strict=True)}
        )
        and max(writer.latest, period.earliest) <= recorded[0]
        and recorded[-1] <= period.latest
        and recorded == sorted(recorded)
    )


def _advance(writer: Writer, columns: _Columns, *, ended: bool) -> None:
    writer.next_sequence = columns.first + len(columns.hashes)
    writer.previous = columns.hashes[-1]
    writer.ended = ended
    writer.latest = columns.times[-1]


@dataclass(slots=True)
class _Looked:
    faults: list[tuple[str, bool]]
    said: list[Said]


def _one(
    writer: Writer,
    sequence: int,
    record: bytes,
    ending: bytes,
    month: str | None,
    period: Period,
) -> _Looked:
    """One record by itself: everything that is wrong with it, in words."""
    recorded = ending[1:]
    found: list[tuple[str, bool]] = []
    said: list[Said] = []
    try:
        members = read_members(record)
    except RecordError as error:
        found.append((f"the record cannot be read: {error}", False))
    else:
        if writer.previous is not None and members.previous != writer.previous:
            found.append(("it does not hold the hash of the record before it", True))
        found += [(what, False) for what in _wrong_members(writer, sequence, members)]
        found += [(what, False) for what in _wrong_times(writer, members, recorded, month, period)]
        writer.ended = writer.ended or members.event == EVENT_OF_END
        if not found:
            said = _said([record], [members.event])
    writer.next_sequence = sequence + 1
    writer.previous = sha256(record).hexdigest().encode()
    if not found:
        writer.latest = max(writer.latest, recorded)
    return _Looked(found, said)


def _wrong_members(writer: Writer, sequence: int, members: Members) -> list[str]:
    found = []
    if members.writer_id != writer.writer_id:
        found.append("its writer_id is not that of its row")
    if int(members.sequence) != sequence:
        found.append("its sequence is not that of its row")
    if (members.event == EVENT_OF_OPENING) != (sequence == 0):
        found.append("a writer begins with log_opened, and nowhere else")
    if writer.ended:
        found.append("it comes after log_closed of its writer")
    return found


def _wrong_times(
    writer: Writer, members: Members, recorded: bytes, month: str | None, period: Period
) -> list[str]:
    try:
        time = times.parsed(recorded)
        close = times.are_close(members.event_time, recorded)
    except ValueError:
        return ["its time is not one"]
    found = []
    if not close:
        found.append("event_time and recorded_at are more than 2 seconds apart")
    if not _is_month(month, recorded[:_MONTH]):
        found.append("its month is not that of recorded_at")
    if not period.earliest <= recorded <= period.latest:
        found.append(period.otherwise)
    elif writer.latest and times.spelled(time + times.MOST_OUT_OF_ORDER) < writer.latest:
        found.append("it was recorded before the record that it follows")
    return found


def _is_month(month: str | None, recorded: bytes) -> bool:
    return month is None or month == recorded.decode("ascii", "replace") + "-01"


def _said(records: Sequence[bytes], events: Sequence[bytes]) -> list[Said]:
    if _SAYING.isdisjoint(events):
        return []
    return [
        Said(event, read_record(record).get("details", {}))
        for record, event in zip(records, events, strict=True)
        if event in _SAYING
    ]
