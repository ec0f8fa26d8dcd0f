"""What of a record is checked: canonical JSON of one object, and the members that chain it.

Canonical is what ``json.dumps`` gives with sorted names, no white space, ASCII. A pattern reads records of today's form about
twice as fast as a JSON parser; whatever it does not match is parsed, and compared with its canonical form.
"""

import json
import re
from typing import Any, NamedTuple

EVENT_OF_OPENING = b"log_opened"
EVENT_OF_END = b"log_closed"
EVENT_OF_DETACHING = b"month_detached"
EVENT_OF_RECOVERY = b"log_recovered"

# Characters that need no escape: printable ASCII but for quote and backslash.
_PLAIN = r"[ !#-\[\]-~]*+"
_TEXT = rf'"{_PLAIN}(?:\\(?:["\\bfnrt]|u[0-9a-f]{{4}}){_PLAIN})*+"'
_NUMBER = r"-?(?:0|[1-9][0-9]*+)"
_HEX = r"[0-9a-f]++"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
_PAIR = rf"{_TEXT}:(?:{_TEXT}|{_NUMBER})"
_WRITTEN = re.compile(
    (
        rf'\{{(?:"certificate_sha256":"{_HEX}",)?+'
        rf'"code":{_TEXT},'
        rf'(?:"details":\{{{_PAIR}(?:,{_PAIR})*+\}},)?+'
        r'"event":"([a-z_]++)",'
        r'"event_time":"([0-9T:.Z-]++)",'
        rf'(?:"fields":\[{_TEXT}(?:,{_TEXT})*+\],)?+'
        rf'"identity":{_TEXT},'
        rf'(?:"key_name":{_TEXT},)?+'
        rf'(?:"merchant_id":{_TEXT},)?+'
        rf'"outcome":{_TEXT},'
        rf'"previous":"({_HEX})",'
        rf'(?:"purpose":{_TEXT},)?+'
        rf'(?:"request_id":{_TEXT},)?+'
        r'"sequence":(0|[1-9][0-9]*+),'
        rf'(?:"source":{_TEXT},)?+'
        rf'(?:"token_id":{_TEXT},)?+'
        rf'"v":1,"writer_id":"({_HEX})"\}}'
    ).encode()
)
written = _WRITTEN.fullmatch
"""Matches a record of today's form. Its groups are those of :class:`Members`, whose lengths it does not look at."""

# In the order of Members.
_FORMS = {
    "event": re.compile(rb"[a-z_]+"),
    "event_time": re.compile(_TIME.encode()),
    "previous": re.compile(rb"[0-9a-f]{64}"),
    "sequence": re.compile(rb"[0-9]+"),
    "writer_id": re.compile(rb"[0-9a-f]{32}"),
}


class RecordError(ValueError):
    """It is no record. The text says why, and shows nothing of it."""


class Members(NamedTuple):
    """As they are spelled in the record."""

    event: bytes
    event_time: bytes
    previous: bytes
    sequence: bytes
    writer_id: bytes


def read_members(record: bytes) -> Members:
    """Raises RecordError."""
    match = written(record)
    members = _texts_of(record) if match is None else Members(*match.groups())
    for value, (name, form) in zip(members, _FORMS.items(), strict=True):
        if not form.fullmatch(value):
            raise RecordError(f"{name} is not there, or not of its form")
    return members


def _texts_of(record: bytes) -> Members:
    members = read_record(record)
    sequence = members.get("sequence")
    if type(sequence) is not int:
        raise RecordError("sequence is not there, or no number")
    texts = {name: _text(members.get(name)) for name in _FORMS}
    return Members(**{**texts, "sequence": b"%d" % sequence})


def _text(value: object) -> bytes:
    return value.encode("ascii", "replace") if isinstance(value, str) else b""


def read_record(record: bytes) -> dict[str, Any]:
    """The whole record. Raises RecordError unless it is canonical JSON of one object."""
    try:
        members = json.loads(record.decode("ascii"))
        canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        members, canonical = None, b""
    if not isinstance(members, dict) or canonical != record:
        raise RecordError("it is not canonical JSON")
    return members
