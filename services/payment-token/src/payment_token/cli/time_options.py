"""Times as people give them: how long ago, how long from now, or a date."""

import re
from datetime import UTC, datetime, timedelta

from payment_token.settings import ConfigurationError

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=10 * 365)


def parse_time(name: str, text: str, now: datetime) -> datetime:
    """``24h`` and ``7d`` are so long before ``now``; else a date or time of ISO 8601, UTC unless it says otherwise.

    Raises ConfigurationError.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - _span(ago)
    return _moment(f"{name}: say how long ago, such as 24h or 7d, or a time", text)


def parse_moment(name: str, text: str) -> datetime:
    """A date or time of ISO 8601, UTC unless it says otherwise. Raises ConfigurationError."""
    return _moment(f"{name}: say a time", text)


def parse_duration(name: str, text: str) -> timedelta:
    """``90d`` and the like. Raises ConfigurationError."""
    match = _AGO.fullmatch(text)
    if match is None or _span(match) > _LONGEST:
        raise ConfigurationError(
            f"{name}: say how long, such as 12h, 90d or 52w; no more than {_LONGEST.days // 365} years."
        )
    return _span(match)


def _span(match: re.Match[str]) -> timedelta:
    number, unit = match.groups()
    return timedelta(**{_UNITS[unit]: int(number)})


def _moment(rule: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{rule}, such as 2026-11-24 or 2026-11-24T20:00Z.") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
