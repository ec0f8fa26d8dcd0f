"""How often registered terminals fail, and their suspension, in PostgreSQL: the contracts are in ``suspend_failing_devices``."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from psycopg import AsyncConnection

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.ports import AuditLog
from payment_token.domain.suspend_failing_devices import FailingDevice, Failure, SuspensionRule
from payment_token.infrastructure.database.columns import columns, text_column
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

# The claimed device id proves nothing. A terminal that was registered with its initial keys counts under those alone; one
# that was not, under those that are bound to it; and before any is, under any that is not bound to another. The names of the keys
# are there for the index.
_COUNT: LiteralString = """
WITH given AS (
    SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::bigint[])
        AS given (merchant_id, device_id, initial_key_id, failures)
), theirs AS (
    SELECT merchant_id, device_id, sum(failures) AS failures
      FROM given JOIN devices USING (merchant_id, device_id)
     WHERE state IN ('registered', 'active')
       AND (initial_key_id IS NULL OR initial_key_id = ANY (initial_key_ids)
            OR (cardinality(initial_key_ids) = 0
                AND (SELECT coalesce(bool_and(bound.merchant_id = given.merchant_id AND bound.device_id = given.device_id), true)
                       FROM base_derivation_keys JOIN device_initial_keys AS bound USING (bdk_id)
                      WHERE bound.initial_key_id = given.initial_key_id)
                AND (EXISTS (SELECT FROM device_initial_keys AS bound
                              WHERE bound.merchant_id = given.merchant_id AND bound.device_id = given.device_id
                                AND bound.initial_key_id = given.initial_key_id)
                     OR NOT EXISTS (SELECT FROM device_initial_keys AS bound
                                     WHERE bound.merchant_id = given.merchant_id AND bound.device_id = given.device_id))))
     GROUP BY merchant_id, device_id
     ORDER BY merchant_id COLLATE "C", device_id COLLATE "C"
)
INSERT INTO device_failures AS known (merchant_id, device_id, failures)
SELECT merchant_id, device_id, failures FROM theirs
    ON CONFLICT (merchant_id, device_id, second) DO UPDATE
   SET failures = known.failures + excluded.failures
RETURNING merchant_id, device_id
"""

# In a statement of its own, which sees what other processes have added meanwhile.
_AT_THE_LIMIT: LiteralString = """
SELECT merchant_id, device_id
  FROM device_failures
 WHERE (merchant_id, device_id) IN (SELECT * FROM unnest(%b::text[], %b::text[]))
   AND second > clock_timestamp() - make_interval(secs => %s)
 GROUP BY merchant_id, device_id
HAVING sum(failures) >= %s
"""

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('payment-token suspends ' || %s || ' ' || %s, 0))"
_STATE = "SELECT state FROM devices WHERE merchant_id = %s AND device_id = %s AND state IN ('registered', 'active') FOR NO KEY UPDATE"
_SUSPEND = "SELECT suspend_device(%s, %s)"


class PostgresDeviceFailures:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(
        self, failures: Mapping[Failure, int], rule: SuspensionRule
    ) -> Sequence[FailingDevice]:
        rows = [(*failure.device, failure.initial_key_id, n) for failure, n in failures.items()]
        given = columns(("text", "text", "bytea", "bigint"), rows)
        async with connection_of(self._pool) as connection:
            counted = await (await connection.execute(_COUNT, given)).fetchall()
        if not counted:
            return []
        merchants, devices = (text_column(names) for names in zip(*counted, strict=True))
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(
                _AT_THE_LIMIT, (merchants, devices, rule.seconds, rule.failures)
            )
            return [FailingDevice(*row) for row in await cursor.fetchall()]


class PostgresSuspension:
    """``process`` is who suspends."""

    def __init__(self, pool: Pool, audit_log: AuditLog, process: Actor) -> None:
        self._pool = pool
        self._audit_log = audit_log
        self._process = process

    async def suspend(self, merchant_id: MerchantId, device_id: DeviceId, reason: str) -> bool:
        name = (merchant_id, device_id)
        async with connection_of(self._pool) as connection:
            # Several processes see the limit at once: one of them writes the record, the others find it done.
            if not await _one(connection, _TRY_LOCK, name):
                return False
            # Held until it is changed: what an operator does meanwhile comes after it, in the log as well.
            state = await _one(connection, _STATE, name)
            if state is None:
                return False
            await self._audit_log.record(
                AuditEvent(
                    EventKind.DEVICE_STATE_CHANGED,
                    Outcome.DONE,
                    self._process,
                    merchant_id=merchant_id,
                    details={
                        "device_id": device_id,
                        "from": str(state),
                        "to": "suspended",
                        "reason": reason,
                    },
                )
            )
            return bool(await _one(connection, _SUSPEND, name))


async def _one(
    connection: AsyncConnection, statement: LiteralString, name: tuple[str, str]
) -> object:
    row = await (await connection.execute(statement, name)).fetchone()
    return None if row is None else row[0]
