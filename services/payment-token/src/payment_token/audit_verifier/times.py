"""Times as records and leaves spell them: 2026-11-24T20:54:14.123456Z. As text they sort as they follow each other."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

LENGTH = 27
MOST_BETWEEN_EVENT_AND_RECORD = timedelta(seconds=2)
MOST_OUT_OF_ORDER = timedelta(hours=1)

_FORM = b"0000-00-00T00:00:00.000000Z"
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_SECOND = len(b"2026-11-24T20:54:14")


def are_times(texts: Iterable[bytes]) -> bool:
    """Whether all are spelled as times are; not whether each is a day that exists."""
    joined = b"".join(texts)
    return joined.translate(_DIGITS) == _FORM * (len(joined) // LENGTH)


def parsed(text: bytes) -> datetime:
    """Raises ValueError."""
    if len(text) != LENGTH or not are_times([text]):
        raise ValueError("it is not spelled as a time")
    return datetime.fromisoformat(text[:-1].decode()).replace(tzinfo=UTC)


def spelled(time: datetime) -> bytes:
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:26].encode() + b"Z"


def are_close(one: bytes, other: bytes) -> bool:
    """Whether an event and its record are as close as they must be. Raises ValueError."""
    if one[:_SECOND] == other[:_SECOND]:
        return True
    return abs(parsed(one) - parsed(other)) <= MOST_BETWEEN_EVENT_AND_RECORD
