"""What workers used of their limits, in PostgreSQL. The contract is :class:`payment_token.domain.worker_limits.WorkerLedger`.

What a process asks at the same time is one statement (:mod:`group_commit`). Nothing here waits for the disk: see
:func:`payment_token.infrastructure.database.pool.new_limits_pool`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_limits import Charged, LeasedPermits
from payment_token.domain.worker_policy import Budget, Rate
from payment_token.infrastructure.database.columns import Column, columns, text_column
from payment_token.infrastructure.database.faults import BatchRefusedError, batch_connection_of
from payment_token.infrastructure.database.group_commit import GroupCommit
from payment_token.infrastructure.database.pool import Pool

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_WINDOW_START: LiteralString = "to_timestamp(floor(extract(epoch FROM moment) / seconds) * seconds)"

# Limits of a worker are counted by one process at a time. The statement that counts begins once the lock is held, so it sees
# all that others counted before; in one statement with the lock it would not.
_LOCK: LiteralString = """
SELECT pg_advisory_xact_lock(name)
  FROM (SELECT DISTINCT hashtextextended('payment-token ' || %b::text || ' of ' || identity, 0) AS name
          FROM unnest(%b::text[]) AS identity ORDER BY 1) AS names
"""

_LEASE: LiteralString = f"""
WITH clocks AS MATERIALIZED (SELECT clock_timestamp() AS moment), asked AS MATERIALIZED (
    SELECT given.*, {_WINDOW_START} AS window_start, moment
      FROM clocks, unnest(%b::text[], %b::bigint[], %b::bigint[], %b::bigint[])
                   WITH ORDINALITY AS given (identity, most, seconds, wanted, place)
), leased AS MATERIALIZED (
    SELECT asked.*, least(wanted, greatest(0, most - coalesce(
                    (SELECT used FROM worker_limit_windows AS known
                      WHERE known.identity = asked.identity AND kind = 'requests'
                        AND known.window_start = asked.window_start), 0))) AS granted
      FROM asked
), summed AS (
    INSERT INTO worker_limit_windows AS known (identity, kind, window_start, window_end, used)
    SELECT identity, 'requests', window_start, window_start + seconds * interval '1 s', granted
      FROM leased WHERE granted > 0
    ON CONFLICT (identity, kind, window_start)
    DO UPDATE SET used = known.used + excluded.used, window_end = greatest(known.window_end, excluded.window_end)
)
SELECT granted, extract(epoch FROM window_start + seconds * interval '1 s' - moment)::float8
  FROM leased ORDER BY place
"""

# Each use is looked for by its whole key: no plan that was made while the table was small may read all of it later.
_CHARGE: LiteralString = f"""
WITH clocks AS MATERIALIZED (SELECT clock_timestamp() AS moment), asked AS MATERIALIZED (
    SELECT given.*, {_WINDOW_START} AS window_start, moment
      FROM clocks, unnest(%b::text[], %b::bigint[], %b::bigint[], %b::text[])
                   WITH ORDINALITY AS given (identity, most, seconds, token_id, place)
), counted AS MATERIALIZED (
    SELECT asked.*,
           coalesce((SELECT used FROM worker_limit_windows AS known
                      WHERE known.identity = asked.identity AND kind = 'tokens'
                        AND known.window_start = asked.window_start), 0) AS used,
           coalesce((SELECT true FROM worker_token_uses AS known
                      WHERE known.identity = asked.identity AND known.window_start = asked.window_start
                        AND known.token_id = asked.token_id), false) AS seen
      FROM asked
), new AS MATERIALIZED (
    SELECT * FROM (
           SELECT *, row_number() OVER (PARTITION BY identity, window_start ORDER BY place) AS number
             FROM counted WHERE NOT seen) AS unseen
     WHERE used + number <= most
), charged AS (
    INSERT INTO worker_token_uses (identity, window_start, token_id)
    SELECT identity, window_start, token_id FROM new
), summed AS (
    INSERT INTO worker_limit_windows AS known (identity, kind, window_start, window_end, used)
    SELECT identity, 'tokens', window_start, max(window_start + seconds * interval '1 s'), count(*)
      FROM new GROUP BY identity, window_start
    ON CONFLICT (identity, kind, window_start)
    DO UPDATE SET used = known.used + excluded.used, window_end = greatest(known.window_end, excluded.window_end)
)
SELECT seen OR place IN (SELECT place FROM new),
       extract(epoch FROM window_start + seconds * interval '1 s' - moment)::float8
  FROM counted ORDER BY place
"""

_LEASE_KINDS = ("text", "bigint", "bigint", "bigint")
_CHARGE_KINDS = ("text", "bigint", "bigint", "text")


@dataclass(frozen=True, slots=True)
class _Lease:
    identity: str
    rate: Rate
    wanted: int


@dataclass(frozen=True, slots=True)
class _Charge:
    identity: str
    budget: Budget
    token_id: str


class PostgresWorkerLedger:
    """For one event loop. ``pool`` is of :func:`new_limits_pool`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # One batch of each at a time: a process never waits for a lock of its own.
        self._lease = GroupCommit(self._lease_many, self._lease_one)
        self._charge = GroupCommit(self._charge_many, self._charge_one)

    async def lease_permits(self, identity: str, rate: Rate, wanted: int) -> LeasedPermits:
        return await self._lease(_Lease(identity, rate, wanted))

    async def charge_token(self, identity: str, budget: Budget, token_id: TokenId) -> Charged:
        return await self._charge(_Charge(identity, budget, token_id.text))

    async def _lease_many(self, leases: Sequence[_Lease]) -> Sequence[LeasedPermits]:
        rows = [
            (each.identity, each.rate.requests, each.rate.per_seconds, each.wanted)
            for each in leases
        ]
        found = await self._counted("rate", _LEASE, columns(_LEASE_KINDS, rows))
        return [LeasedPermits(*row) for row in found]

    async def _charge_many(self, charges: Sequence[_Charge]) -> Sequence[Charged]:
        # A token that is asked for twice at once is charged once.
        distinct = list(dict.fromkeys(charges))
        rows = [
            (each.identity, each.budget.tokens, each.budget.window_seconds, each.token_id)
            for each in distinct
        ]
        found = await self._counted("budget", _CHARGE, columns(_CHARGE_KINDS, rows))
        by_charge = dict(zip(distinct, (Charged(*row) for row in found), strict=True))
        return [by_charge[each] for each in charges]

    async def _counted(
        self, limit: str, statement: LiteralString, asked: Sequence[Column]
    ) -> Sequence[tuple[Any, ...]]:
        """The first column of ``asked`` has the identities."""
        identities = text_column(set(asked[0]))
        async with batch_connection_of(self._pool) as connection:
            cursor = connection.cursor(binary=True)
            # On their way together, and one transaction: what lies between two syncs of a pipeline is (PostgreSQL's
            # documentation, "Extended Query"). So the lock is held for as long as the statement takes, and no network.
            async with connection.pipeline():
                await connection.execute(_LOCK, (limit, identities), prepare=True)
                await cursor.execute(statement, asked, prepare=True)
            return await cursor.fetchall()

    async def _lease_one(self, lease: _Lease) -> LeasedPermits:
        return await _alone(self._lease_many, lease)

    async def _charge_one(self, charge: _Charge) -> Charged:
        return await _alone(self._charge_many, charge)


async def _alone(
    many: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]], item: Item
) -> Outcome:
    try:
        return (await many([item]))[0]
    except BatchRefusedError:
        pass
    raise DatabaseUnavailableError
