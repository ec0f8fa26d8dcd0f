"""Whether the audit log is whole. It reads what stands there, and shares no code with whoever wrote it."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any

import psycopg

TOLERANCE = timedelta(seconds=2)


@dataclass(frozen=True)
class Row:
    """As the database has it. What no database wrote has no ``recorded_at``."""

    writer: str
    sequence: int
    record: str
    recorded_at: datetime | None = None
    month: date | None = None

    @property
    def parsed(self) -> dict[str, Any]:
        return dict(json.loads(self.record))

    @property
    def hash(self) -> str:
        return sha256(self.record.encode("ascii")).hexdigest()

    @property
    def receipt(self) -> str:
        return f"ar2.{self.writer}.{self.sequence}.{self.hash}"


def rows_of(database: psycopg.Connection) -> list[Row]:
    found = database.execute(
        "SELECT writer_id, sequence, record, recorded_at, month FROM decrypt_audit_log"
    ).fetchall()
    return [Row(writer.hex, *others) for writer, *others in found]


def check_chains(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Each writer's records in their order. Fails unless every chain is contiguous from its first record on."""
    chains = {}
    in_order = sorted(rows, key=lambda row: (row.writer, row.sequence))
    for writer, chain in groupby(in_order, lambda row: row.writer):
        chains[writer] = _checked(writer, list(chain))
    return chains


def _checked(writer: str, chain: list[Row]) -> list[dict[str, Any]]:
    previous = "0" * 64
    for place, row in enumerate(chain):
        record = row.parsed
        assert row.sequence == place, f"{writer} has no record {place}, or has it twice"
        assert (record["writer_id"], record["sequence"]) == (writer, place)
        assert record["previous"] == previous
        assert row.record == json.dumps(record, sort_keys=True, separators=(",", ":"))
        assert (record["event"] == "log_opened") == (place == 0)
        assert record["event"] != "log_closed" or place == len(chain) - 1
        _check_times(row, datetime.fromisoformat(record["event_time"]))
        previous = row.hash
    return [row.parsed for row in chain]


def _check_times(row: Row, event_time: datetime) -> None:
    if row.recorded_at is not None:
        recorded_at = row.recorded_at.astimezone(UTC)
        assert abs(recorded_at - event_time) <= TOLERANCE
        assert row.month == recorded_at.date().replace(day=1)


def check_releases(rows: Iterable[Row], answered: Collection[str]) -> None:
    """``answered`` are the receipts of all releases whose card data left: neither fewer nor more are in the log.

    A release that was not answered may be in the log only with a record that takes it back.
    """
    rows = list(rows)
    released = Counter(row.receipt for row in rows if row.parsed["outcome"] == "released")
    taken_back = {
        f"ar2.{details['writer_id']}.{details['sequence']}.{details['record_sha256']}"
        for row in rows
        if row.parsed["event"] == "not_released"
        for details in [row.parsed["details"]]
    }
    assert len(set(answered)) == len(answered)
    assert not set(answered) & taken_back, "a release that was answered is taken back"
    assert not set(answered) - set(released), "card data left without a record"
    assert not set(released) - set(answered) - taken_back, "a release that was not answered stands"
    assert set(released.values()) <= {1}
