"""Many tokens at once, by SQL alone: copies of a row of the service's own, each with ids of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import psycopg

from benchmarks.row_template import RowTemplate

_STEP = 50_000
_SESSIONS = 2
_FASTER = "-c synchronous_commit=off -c timezone=UTC"

_NEW_IDS = """
WITH new AS MATERIALIZED (
    SELECT 'pt_' || replace(gen_random_uuid()::text, '-', '') || 'hdcv' AS token_id,
           replace(gen_random_uuid()::text, '-', '') AS idempotency_key
      FROM generate_series(1, {number}))
"""

Progress = Callable[[int], None]


def tokens_with_claims(url: str, number: int, progress: Progress) -> None:
    """Tokens of the default life, as a day of work leaves them: half are purged tomorrow, half the day after."""
    with psycopg.connect(url) as link:
        token = RowTemplate.of(link, "payment_tokens")
        claim = RowTemplate.of(link, "token_idempotency_keys")
    today = _today()
    statements = [
        f"{_NEW_IDS}, tokens AS ("
        + token.insert({"token_id": "token_id", **_life(today + timedelta(days=days))}, "new")
        + ") "
        + claim.insert({column: column for column in ("token_id", "idempotency_key")}, "new")
        for days in (1, 2)
    ]
    _execute(url, statements, number, progress)


def due_tokens(url: str, number: int, progress: Progress) -> date:
    """A partition whose purge day has come. Returns the day."""
    day = _today()
    with psycopg.connect(url, autocommit=True) as link:
        token = RowTemplate.of(link, "payment_tokens")
        link.execute(
            f"CREATE TABLE IF NOT EXISTS payment_tokens_{day:%Y_%m_%d} PARTITION OF payment_tokens"
            f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        )
        link.execute(f"ALTER TABLE payment_tokens_{day:%Y_%m_%d} OWNER TO pt_maintainer")
    statement = _NEW_IDS + token.insert({"token_id": "token_id", **_life(day)}, "new")
    _execute(url, [statement], number, progress)
    return day


def expired_claims(url: str, number: int, progress: Progress) -> None:
    """Idempotency keys whose window has passed."""
    with psycopg.connect(url) as link:
        claim = RowTemplate.of(link, "token_idempotency_keys")
    ids = {column: column for column in ("token_id", "idempotency_key")}
    window = {"expires_at": "now() - interval '1 day' * random()"}
    _execute(url, [_NEW_IDS + claim.insert(ids | window, "new")], number, progress)


def _life(purge_day: date) -> dict[str, str]:
    """Of a token that expires at some time of the day before its purge day."""
    return {
        "purge_day": f"DATE '{purge_day}'",
        "created_at": f"TIMESTAMPTZ '{purge_day}' - interval '2 days'",
        "expires_at": f"TIMESTAMPTZ '{purge_day}' - interval '1 second'",
    }


def _execute(url: str, statements: list[str], number: int, progress: Progress) -> None:
    steps = [min(_STEP, number - start) for start in range(0, number, _STEP)]

    def fill(session: int) -> None:
        with psycopg.connect(url, autocommit=True, options=_FASTER) as link:
            for at, rows in enumerate(steps[session::_SESSIONS]):
                link.execute(statements[at % len(statements)].replace("{number}", str(rows)))
                progress(rows)

    with ThreadPoolExecutor(_SESSIONS) as sessions:
        list(sessions.map(fill, range(_SESSIONS)))


def _today() -> date:
    return datetime.now(UTC).date()
