"""What an operator says of a new API key: what it may do, until when, how often."""

from collections.abc import Callable, Sequence
from datetime import datetime

import typer

from payment_token.cli.free_text import checked_text
from payment_token.cli.time_options import parse_duration, parse_moment
from payment_token.domain.api_key import DEFAULT_SCOPES, Scope
from payment_token.domain.api_key_review import DEFAULT_LIFE
from payment_token.domain.identifiers import MERCHANT_ID, MerchantId
from payment_token.domain.permits import MOST_PER_SECOND, Rate
from payment_token.settings import ConfigurationError

Expiry = Callable[[datetime], datetime | None]
"""When the key expires, by the time that the database has when it is made."""

ExpiresIn = typer.Option(
    None,
    "--expires-in",
    metavar="90d",
    help=f"How long it lives: s, m, h, d or w. Default: {DEFAULT_LIFE.days}d.",
)
ExpiresAt = typer.Option(
    None, "--expires-at", metavar="TIME", help="When it expires, ISO 8601; UTC unless it says so."
)
NeverExpires = typer.Option(False, "--never-expires", help="`doctor` will remind you of it.")


def expiry_of(expires_in: str | None, expires_at: str | None, *, never: bool) -> Expiry:
    """Raises ConfigurationError, and so does what it returns for a time that has passed."""
    if sum((expires_in is not None, expires_at is not None, never)) > 1:
        raise ConfigurationError("--expires-in, --expires-at, --never-expires: one of them.")
    if never:
        return lambda _: None
    if expires_at is not None:
        at = parse_moment("--expires-at", expires_at)
        return lambda now: _in_future("--expires-at", at, now)
    life = DEFAULT_LIFE if expires_in is None else parse_duration("--expires-in", expires_in)
    return lambda now: _in_future("--expires-in", (now + life).replace(microsecond=0), now)


def end_of(expires_in: str | None, expires_at: str | None) -> Callable[[datetime], datetime]:
    """Likewise, and one of them must be there."""
    if (expires_in is None) == (expires_at is None):
        raise ConfigurationError("Say when: --in 7d, or --at 2026-11-24T20:00Z.")
    if expires_at is not None:
        at = parse_moment("--at", expires_at)
        return lambda now: _in_future("--at", at, now)
    life = parse_duration("--in", expires_in or "")
    return lambda now: _in_future("--in", now + life, now)


def merchants_of(given: Sequence[str]) -> tuple[MerchantId, ...]:
    for merchant_id in given:
        if not MERCHANT_ID.fullmatch(merchant_id):
            raise ConfigurationError(
                "--merchant: 1 to 64 of A-Z a-z 0-9 . _ : -, the first a letter or digit."
            )
        checked_text("--merchant", merchant_id)
    return tuple(map(MerchantId, dict.fromkeys(given)))


def scopes_of(given: Sequence[Scope]) -> frozenset[Scope]:
    return frozenset(given) or DEFAULT_SCOPES


def rate_of(per_second: int | None, burst: int | None) -> Rate | None:
    if per_second is None:
        if burst is not None:
            raise ConfigurationError("--burst: goes with --rate.")
        return None
    if not (1 <= per_second <= MOST_PER_SECOND and 1 <= (burst or 1) <= MOST_PER_SECOND):
        raise ConfigurationError(f"--rate, --burst: 1 to {MOST_PER_SECOND:,} requests.")
    return Rate(per_second, per_second if burst is None else burst)


def _in_future(name: str, at: datetime, now: datetime) -> datetime:
    if at <= now:
        raise ConfigurationError(f"{name}: must be in the future; to end a key at once, revoke it.")
    return at
