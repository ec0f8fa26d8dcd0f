"""Writes token, idempotency claim and device binding of a create: a batch in one statement, or one in a transaction.

The batch writes what is plain: the key versions are active, the clocks agree, the initial key is known to be this
terminal's and its counter is fresh, the idempotency key is free. It makes no binding, waits for a claim of somebody else's for
a moment only, and leaves undecided what it could not write. Whatever is undecided is created alone.

Whether a counter is fresh is decided under the lock of its initial key, by the newest version of the row; it counts as used
only where the claim is won, so that a request that fails uses up nothing of its terminal. What is decided here in SQL for a
batch is :class:`payment_token.domain.counter_window.CounterWindow`.

A batch locks initial keys, and then inserts claims, each in the order of their names, so that two processes with the same
ones wait for each other in one direction. What is alone does the claim first: who waits for a key that is held keeps no terminal
waiting. A batch that has the terminal of one and wants its key gives up after a moment, so neither waits for the other.
"""

from collections.abc import Sequence
from datetime import timedelta

from psycopg import AsyncConnection

from payment_token.domain.counter_window import (
    JUMP,
    WINDOW,
    CounterVerdict,
    CounterWindow,
    ReplayRule,
)
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    KSNBehindWindowError,
    KSNReplayedError,
    UnknownDeviceError,
)
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.ports import InactiveKeyError
from payment_token.domain.token import Claim, NewToken
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.columns import columns
from payment_token.infrastructure.database.faults import batch_connection_of, connection_of
from payment_token.infrastructure.database.group_commit import UNDECIDED, Undecided
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.database.token_rows import NEW, new_row

_FIND_CLAIM = """
SELECT token_id, fingerprint, fingerprint_key
  FROM token_idempotency_keys
 WHERE merchant_id = %s AND idempotency_key = %s AND expires_at > clock_timestamp()
"""

_CLAIM_COLUMNS = (
    "merchant_id, idempotency_key, token_id, fingerprint, fingerprint_key, created_at, expires_at"
)

# Takes over a claim whose window has passed. Waits for another transaction that holds the same key.
_TAKE_OVER = """
    ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
   SET token_id = excluded.token_id, fingerprint = excluded.fingerprint,
       fingerprint_key = excluded.fingerprint_key, created_at = excluded.created_at,
       expires_at = excluded.expires_at
 WHERE held.expires_at <= now()
"""

_CLAIM = f"""
INSERT INTO token_idempotency_keys AS held ({_CLAIM_COLUMNS})
VALUES (%s, %s, %s, %s, %s, now(), now() + %s)
{_TAKE_OVER}
"""

_NEW_COLUMNS = ", ".join(NEW)

_INSERT = f"""
INSERT INTO payment_tokens (status, {_NEW_COLUMNS})
VALUES ('active', {", ".join(f"%s::{kind}" for kind in NEW.values())})
"""

_ARRIVED = {
    **NEW,
    "metadata": "text",  # JSON, which becomes jsonb once it is there
    "initial_key_id": "bytea",
    "counter": "bigint",
    "idempotency_key": "text",
    "fingerprint": "bytea",
    "fingerprint_key": "text",
}

_NONE_SEEN = f"B'0'::bit({WINDOW})"

# ``holds_active_key`` takes the share lock on a key version and looks only then, with a snapshot of its own. The few keys of a
# batch are named before it is asked: else the planner would ask it for every row.
#
# Who won is one sub-select that is no join (IS TRUE), hence hashed: the planner expects one row, and would join each row with each.
_CREATE_BATCH = f"""
WITH arrived AS (
    SELECT * FROM unnest({", ".join(f"%b::{kind}[]" for kind in _ARRIVED.values())})
        AS arrived ({", ".join(_ARRIVED)})
), named AS MATERIALIZED (
    SELECT 'service' AS purpose, service_key AS version FROM arrived
     UNION SELECT 'index', fingerprint_key FROM arrived ORDER BY 1, 2
), held AS MATERIALIZED (
    SELECT purpose, version FROM named WHERE holds_active_key(purpose, version)
), terminal AS MATERIALIZED (
    SELECT bdk_id, initial_key_id, merchant_id, device_id, high_water, seen
      FROM device_initial_keys
     WHERE (bdk_id, initial_key_id) IN (SELECT bdk_id, initial_key_id FROM arrived)
       AND (SELECT count(*) FROM held) > 0
     ORDER BY bdk_id COLLATE "C", initial_key_id
       FOR NO KEY UPDATE
), admitted AS MATERIALIZED (
    SELECT arrived.*, high_water
      FROM (SELECT *, row_number() OVER (PARTITION BY bdk_id, initial_key_id, counter ORDER BY token_id) AS turn
              FROM arrived) AS arrived
      JOIN terminal USING (bdk_id, initial_key_id, merchant_id, device_id)
     WHERE service_key IN (SELECT version FROM held WHERE purpose = 'service')
       AND fingerprint_key IN (SELECT version FROM held WHERE purpose = 'index')
       AND abs(extract(epoch FROM now() - arrived.created_at)) <= 2
       AND turn = 1
       AND CASE WHEN counter > high_water THEN counter - high_water <= {JUMP}
                WHEN high_water - counter < {WINDOW} THEN get_bit(seen, (high_water - counter)::int) = 0
           END
), claimed AS (
    INSERT INTO token_idempotency_keys AS held ({_CLAIM_COLUMNS})
    SELECT merchant_id, idempotency_key, token_id, fingerprint, fingerprint_key, now(), now() + %b
      FROM admitted ORDER BY merchant_id COLLATE "C", idempotency_key COLLATE "C"
    {_TAKE_OVER}
    RETURNING token_id
), won AS MATERIALIZED (
    SELECT * FROM admitted WHERE (token_id IN (SELECT token_id FROM claimed)) IS TRUE
), used AS (
    SELECT bdk_id, initial_key_id, counter,
           greatest(high_water, max(counter) OVER (PARTITION BY bdk_id, initial_key_id)) AS newest
      FROM won
), moved AS (
    UPDATE device_initial_keys AS terminal
       SET high_water = by_terminal.newest,
           seen = (terminal.seen >> least(by_terminal.newest - terminal.high_water, {WINDOW})::int) | by_terminal.bits,
           last_seen_at = now(),
           tokens = terminal.tokens + by_terminal.tokens
      FROM (SELECT bdk_id, initial_key_id, newest, count(*) AS tokens,
                   bit_or(CASE WHEN newest - counter < {WINDOW} THEN set_bit({_NONE_SEEN}, (newest - counter)::int, 1)
                               ELSE {_NONE_SEEN} END) AS bits
              FROM used
             GROUP BY bdk_id, initial_key_id, newest) AS by_terminal
     WHERE terminal.bdk_id = by_terminal.bdk_id AND terminal.initial_key_id = by_terminal.initial_key_id
)
INSERT INTO payment_tokens (status, {_NEW_COLUMNS})
SELECT 'active', {_NEW_COLUMNS.replace("metadata", "metadata::jsonb")}
  FROM won
RETURNING token_id
"""

_HOLD_KEYS = "SELECT holds_active_key('service', %s) AND holds_active_key('index', %s)"

# Times were computed from this process's estimate of the database clock; what is off by more than two seconds is refused.
_CLOCK_AGREES = "SELECT abs(extract(epoch FROM now() - %s::timestamptz)) <= 2"

_BIND_INITIAL_KEY = """
INSERT INTO device_initial_keys (bdk_id, initial_key_id, merchant_id, device_id)
VALUES (%(bdk_id)s, %(initial_key_id)s, %(merchant_id)s, %(device_id)s)
    ON CONFLICT (bdk_id, initial_key_id) DO NOTHING
"""

_ACTIVATE = "SELECT activate_device(%(merchant_id)s, %(device_id)s)"

_TERMINAL = """
SELECT high_water, seen::text
  FROM device_initial_keys
 WHERE bdk_id = %(bdk_id)s AND initial_key_id = %(initial_key_id)s
   AND merchant_id = %(merchant_id)s AND device_id = %(device_id)s
   FOR NO KEY UPDATE
"""

_USE_COUNTERS = f"""
UPDATE device_initial_keys
   SET high_water = %(high_water)s, seen = %(seen)s::bit({WINDOW}),
       first_seen_at = coalesce(first_seen_at, now()), last_seen_at = now(), tokens = tokens + 1
 WHERE bdk_id = %(bdk_id)s AND initial_key_id = %(initial_key_id)s
"""


class _CameSecondError(Exception):
    """Another create holds the idempotency key. Nothing stays of this one, its binding neither."""


class TokenCreation:
    """The two ways of ``TokenStore.create``. Of two creates under one key, one must be over before the other begins."""

    def __init__(self, pool: Pool, batches: Pool, idempotency_window: timedelta) -> None:
        self._pool = pool
        self._batches = batches
        self._window = idempotency_window

    async def together(
        self, batch: Sequence[NewToken]
    ) -> Sequence[Claim | CounterVerdict | Undecided]:
        """Fresh for each that is durable. Raises BatchRefusedError."""
        plain = [new for new in batch if len(new.binding.counters) == 1]
        if not plain:
            return [UNDECIDED] * len(batch)
        arrived = columns(_ARRIVED.values(), map(_arrived_row, plain))
        async with batch_connection_of(self._batches) as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(_CREATE_BATCH, [*arrived, self._window], prepare=True)
            written = {row[0] for row in await cursor.fetchall()}
        return [
            CounterVerdict.FRESH if new.stored.token.token_id.text in written else UNDECIDED
            for new in batch
        ]

    async def alone(self, new: NewToken) -> Claim | CounterVerdict:
        """Once it is durable, what its counters were, else the claim that holds the key. Raises as ``TokenStore.create`` does."""
        try:
            return await self._create(new)
        except _CameSecondError:
            pass
        async with connection_of(self._pool) as connection:
            claim = await _find_claim(connection, new.stored.token.merchant_id, new.idempotency_key)
        if claim is None:
            # Its window passed between the two statements; the caller's retry takes the key over.
            raise DatabaseUnavailableError
        return claim

    async def _create(self, new: NewToken) -> CounterVerdict:
        async with connection_of(self._pool) as connection:
            await _check_keys_and_clock(connection, new)
            if not await self._claim(connection, new):
                raise _CameSecondError
            terminal = _terminal_of(new)
            window = await _bound_terminal(connection, terminal)
            verdict = window.verdict(new.binding.counters)
            if not verdict.is_fresh and new.binding.replay_rule is ReplayRule.REJECT:
                replayed = verdict is CounterVerdict.REPLAYED
                raise KSNReplayedError if replayed else KSNBehindWindowError
            await connection.execute(_INSERT, new_row(new))
            used = window.used(new.binding.counters)
            await connection.execute(
                _USE_COUNTERS,
                terminal | {"high_water": used.high_water, "seen": _bits(used.seen)},
            )
        return CounterVerdict.FRESH if new.binding.replay_rule is ReplayRule.OFF else verdict

    async def _claim(self, connection: AsyncConnection, new: NewToken) -> bool:
        cursor = await connection.execute(
            _CLAIM,
            (
                new.stored.token.merchant_id,
                new.idempotency_key,
                new.claim.token_id.text,
                new.claim.fingerprint,
                new.claim.fingerprint_key,
                self._window,
            ),
        )
        return cursor.rowcount == 1


async def _find_claim(
    connection: AsyncConnection, merchant_id: MerchantId, idempotency_key: str
) -> Claim | None:
    cursor = await connection.execute(_FIND_CLAIM, (merchant_id, idempotency_key))
    row = await cursor.fetchone()
    return None if row is None else Claim(TokenId.parse(row[0]), row[1], row[2])


def _arrived_row(new: NewToken) -> tuple[object, ...]:
    return (
        *new_row(new),
        new.binding.initial_key_id,
        *new.binding.counters,
        new.idempotency_key,
        new.claim.fingerprint,
        new.claim.fingerprint_key,
    )


async def _check_keys_and_clock(connection: AsyncConnection, new: NewToken) -> None:
    clock = await connection.execute(_CLOCK_AGREES, (new.stored.token.created_at,))
    if await clock.fetchone() != (True,):
        raise DatabaseUnavailableError(
            "The clocks of the service and its database disagree. Try again shortly."
        )
    keys = await connection.execute(_HOLD_KEYS, (new.service_key, new.claim.fingerprint_key))
    if await keys.fetchone() != (True,):
        raise InactiveKeyError


def _terminal_of(new: NewToken) -> dict[str, object]:
    return {
        "bdk_id": new.binding.bdk_id,
        "initial_key_id": new.binding.initial_key_id,
        "merchant_id": new.stored.token.merchant_id,
        "device_id": new.binding.device_id,
    }


async def _bound_terminal(
    connection: AsyncConnection, terminal: dict[str, object]
) -> CounterWindow:
    """Held until the transaction ends."""
    await connection.execute(_ACTIVATE, terminal)
    await connection.execute(_BIND_INITIAL_KEY, terminal)
    row = await (await connection.execute(_TERMINAL, terminal)).fetchone()
    if row is None:
        raise UnknownDeviceError
    return CounterWindow(row[0], 0 if row[1] is None else int(row[1][::-1], 2))


def _bits(seen: int) -> str:
    """The lowest bit first, as the column has it."""
    return f"{seen:0{WINDOW}b}"[::-1]
