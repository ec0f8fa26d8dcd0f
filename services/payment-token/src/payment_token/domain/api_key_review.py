"""What an operator should know of API keys: what became of each, and which of them want attention.

PCI DSS 8.2.6 has inactive accounts removed within 90 days, 8.6.3 has the secrets of applications changed periodically.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from payment_token.domain.api_key import KeyReading

SOON = timedelta(days=14)
INACTIVE = timedelta(days=90)

DEFAULT_LIFE = timedelta(days=365)
"""A secret of 256 random bits is not guessed in any time; what ages is the knowledge of who has copies. A year is the longest
that most policies allow for 8.6.3, and short enough that rotation is something people have done before they must."""


class Standing(StrEnum):
    ACTIVE = "active"
    EXPIRES_SOON = "expires soon"
    EXPIRED = "expired"
    REVOKED = "revoked"


def standing_of(reading: KeyReading) -> Standing:
    if reading.key.revoked_at is not None:
        return Standing.REVOKED
    if reading.key.has_ended(reading.read_at):
        return Standing.EXPIRED
    if reading.seconds_left <= SOON.total_seconds():
        return Standing.EXPIRES_SOON
    return Standing.ACTIVE


def advice_on(reading: KeyReading, *, may_live_for_ever: bool) -> Sequence[str]:
    """Nothing for a key that has ended, or that has a successor and ends by itself."""
    key, now = reading.key, reading.read_at
    if key.has_ended(now) or key.replaced_by is not None:
        return []
    found = []
    if key.expires_at is None and not may_live_for_ever:
        found.append(f"never expires: payment-token api-keys rotate {key.key_id}")
    if standing_of(reading) is Standing.EXPIRES_SOON:
        found.append(
            f"expires at {key.expires_at:%Y-%m-%d %H:%M}Z: payment-token api-keys rotate {key.key_id}"
        )
    since = key.last_used_at or key.created_at
    if since is not None and now - since > INACTIVE:
        used = "was not used" if key.last_used_at else "was never used"
        found.append(
            f"{used} for {(now - since).days} days: payment-token api-keys revoke {key.key_id}"
        )
    return found
