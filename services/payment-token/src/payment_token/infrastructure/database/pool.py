"""The service's connections to PostgreSQL: few, long-lived, and bounded in every wait."""

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

Pool = AsyncConnectionPool[AsyncConnection]

_SIZE = 10
_QUEUE = 500
_WAIT_SECONDS = 2.0

# A batch for each kind of look-up and record, and some to spare.
_BATCHES_AT_ONCE = 6

# Every statement ends within three seconds as far as the server can see to it; the listeners bound the whole request,
# for when the server does nothing any more. ``synchronous_commit`` is what makes an answer
# mean that the row is durable, so it does not depend on how the server or the login is set up.
_SESSION = (
    "-c statement_timeout=3s -c idle_in_transaction_session_timeout=10s -c timezone=UTC"
    " -c synchronous_commit=on"
)

# Of a single request: it may wait for another one's lock. A plan for any value of a parameter covers every partition of
# payment_tokens: planning one takes 20 ms and more, locks them all, and keeps 4 MB and more for each statement and
# connection. PostgreSQL makes such a plan at a statement's sixth execution, only to compare its cost. A plan for the
# values at hand takes 20 to 50 µs, and locks one partition.
_ALONE = " -c lock_timeout=2s -c plan_cache_mode=force_custom_plan"

# A batch waits for a lock no longer than another process's batch takes to commit: who is locked out for longer holds up
# nobody else. Its statements are planned once, and name their partition.
_BATCH = " -c lock_timeout=100ms -c plan_cache_mode=force_generic_plan"


# The one batch of audit records that is on its way, and a second connection for when the first one dies. Shorter bounds
# than other statements have: whoever waits for the record hears within two seconds that there is none.
_AUDIT = " -c statement_timeout=1200ms -c lock_timeout=1100ms -c plan_cache_mode=force_generic_plan"
AUDIT_CONNECTIONS = 2
_AUDIT_WAIT_SECONDS = 1.0

# What a worker was charged is on the primary's way to disk before the audit record of its release, whose commit waits for
# all that is before it in the write-ahead log. So a charge need not wait for the disk by itself, and other processes not
# for its lock meanwhile. No connection at all where no worker has limits.
_LIMITS = " -c lock_timeout=1s -c plan_cache_mode=force_generic_plan -c synchronous_commit=off"
_LIMIT_CONNECTIONS = 3


def new_pool(url: str) -> Pool:
    """Not yet open: ``await pool.open()`` in the event loop that uses it."""
    return _pool(url, _SESSION + _ALONE, _SIZE)


def new_batch_pool(url: str) -> Pool:
    """The connections of :mod:`group_commit`. Not yet open, as above."""
    return _pool(url, _SESSION + _BATCH, _BATCHES_AT_ONCE)


def new_audit_pool(url: str) -> Pool:
    """The connections of :mod:`audit_log` that write. Not yet open, as above."""
    return _pool(url, _SESSION + _AUDIT, AUDIT_CONNECTIONS, _AUDIT_WAIT_SECONDS)


def new_limits_pool(url: str) -> Pool:
    """The connections of :mod:`worker_ledger`, made when they are wanted. Not yet open, as above."""
    return _pool(url, _SESSION + _LIMITS, _LIMIT_CONNECTIONS, least=0)


def _pool(
    url: str, options: str, size: int, wait_seconds: float = _WAIT_SECONDS, *, least: int = 1
) -> Pool:
    return AsyncConnectionPool(
        url,
        kwargs={
            # Transactions are begun where they are wanted; a batch that is one statement needs no BEGIN and COMMIT.
            "autocommit": True,
            "options": options,
            "connect_timeout": 2,
            # A server that has vanished acknowledges nothing any more; the kernel by itself would try for 15 minutes.
            "tcp_user_timeout": 3000,
            "application_name": "payment-token",
        },
        min_size=least,
        max_size=size,
        max_waiting=_QUEUE,
        timeout=wait_seconds,
        reconnect_timeout=0,
        open=False,
    )
