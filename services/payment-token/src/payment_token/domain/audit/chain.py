"""The bytes of records, and the chain that a writer makes of them.

A record is one line of canonical JSON: names sorted, no white space, ASCII, what is unknown left out. It holds the
SHA-256 of the record before it, so none can be changed, dropped or moved without all that follow.

A writer is one process in one epoch. When it cannot say any more which of its records are in the log, it is given up, and
the process goes on as another writer.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from payment_token.domain.audit.event import AuditEvent
from payment_token.domain.audit.receipt import Receipt

VERSION = 1
MOST_BYTES = 8192

_FIRST_PREVIOUS = bytes(32)

# How many bytes of a record its texts may take, as they are written there. A record that is too long would be refused by
# the database, with all others of its batch: whoever chose its texts would keep others from being served.
_ROOM_FOR_IDENTITY = 2048
_ROOM_FOR_SOURCE = 512
_ROOM_FOR_DETAILS = 4096

# A NUL, and half of a surrogate pair, are JSON that PostgreSQL does not read.
_UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Record:
    """``text`` is ASCII, at most 8,192 bytes; ``hash`` is its SHA-256. ``time`` is the event's."""

    event: AuditEvent
    writer_id: UUID
    sequence: int
    time: datetime
    text: str
    hash: bytes

    @property
    def receipt(self) -> Receipt:
        return Receipt(self.writer_id, self.sequence, self.hash)


class Chain:
    """Of one writer. What is drafted is part of it only after :meth:`advance`: it may not come into the log."""

    def __init__(self, writer_id: UUID) -> None:
        self.writer_id = writer_id
        self._next = 0
        self._previous = _FIRST_PREVIOUS

    @property
    def is_open(self) -> bool:
        return self._next > 0

    def draft(self, events: Sequence[AuditEvent], at: datetime) -> list[Record]:
        time = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        writer, previous = self.writer_id.hex, self._previous
        records = []
        for sequence, event in enumerate(events, self._next):
            text = _encode(_members(event, writer, sequence, previous.hex(), time))
            previous = sha256(text.encode("ascii")).digest()
            records.append(Record(event, self.writer_id, sequence, at, text, previous))
        return records

    def advance(self, last: Record) -> None:
        """Every record up to this one is in the log."""
        self._next = last.sequence + 1
        self._previous = last.hash


def _members(
    event: AuditEvent, writer: str, sequence: int, previous: str, time: str
) -> dict[str, object]:
    """In the order of their names."""
    actor = event.actor
    members: dict[str, object] = {}
    if actor.certificate_sha256:
        members["certificate_sha256"] = actor.certificate_sha256.hex()
    members["code"] = event.code
    if event.details:
        room = _ROOM_FOR_DETAILS // len(event.details)
        members["details"] = {
            name: value if isinstance(value, int) else _plain(value, room)
            for name, value in sorted(event.details.items())
        }
    members["event"] = event.kind.value
    members["event_time"] = time
    if event.fields:
        members["fields"] = sorted(event.fields)
    members["identity"] = _plain(actor.identity, _ROOM_FOR_IDENTITY)
    if event.key_name is not None:
        members["key_name"] = event.key_name
    if event.merchant_id is not None:
        members["merchant_id"] = event.merchant_id
    members["outcome"] = event.outcome.value
    members["previous"] = previous
    if event.purpose is not None:
        members["purpose"] = event.purpose
    if event.request_id is not None:
        members["request_id"] = event.request_id
    members["sequence"] = sequence
    if actor.source:
        members["source"] = _plain(actor.source, _ROOM_FOR_SOURCE)
    if event.token_id is not None:
        members["token_id"] = event.token_id.text
    members["v"] = VERSION
    members["writer_id"] = writer
    return members


def _plain(text: str, room: int) -> str:
    """Text that PostgreSQL reads as JSON, cut to as much of it as has room."""
    if len(text) * 2 <= room and text.isascii() and text.isprintable():
        return text
    text = _UNREADABLE.sub("\ufffd", text[:room])
    while (size := len(_encode(text)) - len('""')) > room:
        text = text[: len(text) * room // size]
    return text
