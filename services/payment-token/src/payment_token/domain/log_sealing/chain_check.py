"""What a record must be to be sealed: the next one of its writer's chain, written when it says that it was.

A writer commits its records in order, a batch as a whole. So a gap is none that time would fill: a row is gone.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

CLOCK_TOLERANCE = timedelta(seconds=2)
"""How far the writer's estimate of the database's clock may be from that clock."""

LATE_TOLERANCE = timedelta(hours=1)
"""How much older than the last seal a row may be. What is older was not there then, and has been dated back."""

FIRST_PREVIOUS = bytes(32)

_OPENS = "log_opened"
_CLOSES = "log_closed"
_VERSION = 1
_NEEDED = frozenset({"event", "event_time", "previous", "sequence", "writer_id"})
_TIME_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Fault(StrEnum):
    """Why a record is not sealed. It stays so, and its writer's later ones with it."""

    NOT_A_RECORD = "not_a_record"
    GAP = "gap"
    REPEATED = "repeated"
    OTHER_PLACE = "other_place"
    BROKEN_CHAIN = "broken_chain"
    NOT_OPENED = "not_opened"
    AFTER_END = "after_end"
    CLOCK = "clock"
    OTHER_MONTH = "other_month"
    BACKDATED = "backdated"


@dataclass(frozen=True, slots=True)
class LogRow:
    """``month`` is that of its partition. ``recorded_at`` is the database's, in UTC."""

    sequence: int
    recorded_at: datetime
    month: date
    record: str

    @property
    def entry(self) -> bytes:
        """What is hashed as a leaf of the tree: the record, a newline, and when it was recorded."""
        time = self.recorded_at.astimezone(UTC).replace(tzinfo=None)
        return f"{self.record}\n{time.isoformat(timespec='microseconds')}Z".encode()


@dataclass(frozen=True, slots=True)
class Chain:
    """How far a writer's chain is sealed. ``sequence`` is -1, and ``opened_at`` ``None``, before its first record."""

    writer_id: UUID
    sequence: int = -1
    record_hash: bytes = FIRST_PREVIOUS
    opened_at: datetime | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    writer_id: UUID
    sequence: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Run:
    """The rows that may be sealed, and the chain after them. ``refusal`` is of the row that comes next."""

    chain: Chain
    rows: Sequence[LogRow]
    refusal: Refusal | None


def check_run(chain: Chain, rows: Sequence[LogRow], not_before: datetime | None) -> Run:
    """``rows`` are what comes after the chain, by sequence. ``not_before`` is the earliest that a row may be from."""
    for number, row in enumerate(rows):
        following = _follows(chain, row, not_before)
        if isinstance(following, Fault):
            refusal = Refusal(chain.writer_id, row.sequence, following)
            return Run(chain, rows[:number], refusal)
        chain = following
    return Run(chain, rows, None)


def _follows(chain: Chain, row: LogRow, not_before: datetime | None) -> Chain | Fault:
    record = _parsed(row.record)
    if record is None:
        return Fault.NOT_A_RECORD
    fault = _misplaced(chain, row, record) or _mistimed(row, record, not_before)
    if fault is not None:
        return fault
    return Chain(
        writer_id=chain.writer_id,
        sequence=row.sequence,
        record_hash=sha256(row.record.encode()).digest(),
        opened_at=chain.opened_at or row.recorded_at,
        ended=record["event"] == _CLOSES,
    )


def _misplaced(chain: Chain, row: LogRow, record: dict[str, object]) -> Fault | None:
    if chain.ended:
        return Fault.AFTER_END
    if row.sequence != chain.sequence + 1:
        return Fault.GAP if row.sequence > chain.sequence else Fault.REPEATED
    if (record["writer_id"], record["sequence"]) != (chain.writer_id.hex, row.sequence):
        return Fault.OTHER_PLACE
    if record["previous"] != chain.record_hash.hex():
        return Fault.BROKEN_CHAIN
    if (record["event"] == _OPENS) != (row.sequence == 0):
        return Fault.NOT_OPENED
    return None


def _mistimed(row: LogRow, record: dict[str, object], not_before: datetime | None) -> Fault | None:
    event_time = _time(record["event_time"])
    if event_time is None:
        return Fault.NOT_A_RECORD
    if abs(row.recorded_at - event_time) > CLOCK_TOLERANCE:
        return Fault.CLOCK
    if row.month != row.recorded_at.astimezone(UTC).date().replace(day=1):
        return Fault.OTHER_MONTH
    if not_before is not None and row.recorded_at < not_before:
        return Fault.BACKDATED
    return None


def _parsed(text: str) -> dict[str, object] | None:
    try:
        record = json.loads(text) if text.isascii() else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("v") != _VERSION:
        return None
    return record if record.keys() >= _NEEDED and type(record["sequence"]) is int else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str) or not _TIME_FORM.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
