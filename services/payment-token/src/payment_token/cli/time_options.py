"""Times as people give them: how long ago, or a date."""

import re
from datetime import UTC, datetime, timedelta

from payment_token.settings import ConfigurationError

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(name: str, text: str, now: datetime) -> datetime:
    """``24h`` and ``7d`` are so long before ``now``; else a date or time of ISO 8601, UTC unless it says otherwise.

    Raises ConfigurationError.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        number, unit = ago.groups()
        return now - timedelta(**{_UNITS[unit]: int(number)})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{name}: say how long ago, such as 24h or 7d, or a time, such as 2026-11-24 or 2026-11-24T20:00Z."
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
