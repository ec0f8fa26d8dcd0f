"""Claims, terminals and BDKs of the requests that arrive. The contract is :class:`payment_token.domain.ports.Arrivals`."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from payment_token.domain.arrival import Arrival
from payment_token.domain.enrolment import BaseDerivationKey, Enrolment
from payment_token.domain.failed_attempts import AttemptName
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.token import Claim
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.columns import text_column
from payment_token.infrastructure.database.device_directory import (
    BDK,
    DEVICE,
    bdk_of,
    device_of,
)
from payment_token.infrastructure.database.faults import batch_connection_of, connection_of
from payment_token.infrastructure.database.group_commit import GroupCommit
from payment_token.infrastructure.database.pool import Pool

_KNOWN = ("number", "token_id", "fingerprint", "fingerprint_key", "failures", *DEVICE)
_CANDIDATE = (*BDK, "is_default_here")

# Two answers in one round trip, which is what a lone request spends most of its time on: each row is what is known of one
# arrival, or a key. The keys are all that could serve one of several terminals; a retired one serves nobody.
_ARRIVED = f"""
WITH known AS (
    SELECT asked.number, held.token_id, held.fingerprint, held.fingerprint_key, failed.failures,
           {", ".join(f"devices.{name}" for name in DEVICE)}
      FROM unnest(%(merchants)b::text[], %(idempotency_keys)b::text[], %(devices)b::text[],
                  %(api_keys)b::text[], %(ksns)b::text[])
           WITH ORDINALITY AS asked (merchant_id, idempotency_key, device_id, api_key_id, ksn, number)
      LEFT JOIN token_idempotency_keys AS held
        ON held.merchant_id = asked.merchant_id AND held.idempotency_key = asked.idempotency_key
       AND held.expires_at > clock_timestamp()
      LEFT JOIN devices
        ON devices.merchant_id = asked.merchant_id AND devices.device_id = asked.device_id
      LEFT JOIN failed_attempts AS failed
        ON failed.api_key_id = asked.api_key_id AND failed.ksn = asked.ksn
     WHERE held.token_id IS NOT NULL OR devices.device_id IS NOT NULL OR failed.failures IS NOT NULL
), candidate AS (
    SELECT {", ".join(BDK)}, (is_default OR key_uri = %(default_uri)b) AS is_default_here
      FROM base_derivation_keys
     WHERE retired_at IS NULL
       AND (is_default OR key_uri = %(default_uri)b OR bdk_id IN (SELECT bdk_id FROM known)
            OR EXISTS (SELECT FROM unnest(%(ksns)b::text[]) AS ksn WHERE starts_with(ksn, ksn_prefix)))
)
SELECT {", ".join(f"known.{name}" for name in _KNOWN)}, {", ".join(f"candidate.{name}" for name in _CANDIDATE)}
  FROM known FULL JOIN candidate ON false
 ORDER BY candidate.key_uri = %(default_uri)b DESC, candidate.bdk_id
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    merchant_id: MerchantId
    idempotency_key: str
    device_id: DeviceId
    attempt: AttemptName


class PostgresArrivals:
    """For one event loop. What arrives together is looked up together."""

    def __init__(
        self, pool: Pool, batches: Pool, default_bdk_uri: str | None, *, defaults_allowed: bool
    ) -> None:
        """Outside development there is no default BDK: ``defaults_allowed`` is false."""
        self._pool = pool
        self._batches = batches
        self._default_bdk_uri = default_bdk_uri
        self._defaults_allowed = defaults_allowed
        self._look_up = GroupCommit(self._look_up_many, self._look_up_one)

    async def look_up(
        self,
        merchant_id: MerchantId,
        idempotency_key: str,
        device_id: DeviceId,
        attempt: AttemptName,
    ) -> Arrival:
        return await self._look_up(_Asked(merchant_id, idempotency_key, device_id, attempt))

    async def _look_up_many(self, asked: Sequence[_Asked]) -> Sequence[Arrival]:
        async with batch_connection_of(self._batches) as connection:
            return await self._read(connection, asked)

    async def _look_up_one(self, asked: _Asked) -> Arrival:
        async with connection_of(self._pool) as connection:
            return (await self._read(connection, [asked]))[0]

    async def _read(
        self, connection: AsyncConnection, asked: Sequence[_Asked]
    ) -> Sequence[Arrival]:
        cursor = connection.cursor(binary=True)
        names = {
            "merchants": text_column(one.merchant_id for one in asked),
            "idempotency_keys": text_column(one.idempotency_key for one in asked),
            "devices": text_column(one.device_id for one in asked),
            "api_keys": text_column(one.attempt.api_key_id for one in asked),
            "ksns": text_column(one.attempt.ksn for one in asked),
            "default_uri": self._default_bdk_uri,
        }
        await cursor.execute(_ARRIVED, names, prepare=True)
        known: dict[int, DictRow] = {}
        candidates: list[BaseDerivationKey] = []
        for row in await cursor.fetchall():
            if row[0] is None:
                found = dict(zip(_CANDIDATE, row[len(_KNOWN) :], strict=True))
                candidates.append(self._candidate(found))
            else:
                known[row[0]] = dict(zip(_KNOWN, row[: len(_KNOWN)], strict=True))
        return [
            _arrival(known.get(number), candidates, one.merchant_id)
            for number, one in enumerate(asked, start=1)
        ]

    def _candidate(self, row: DictRow) -> BaseDerivationKey:
        return bdk_of(row, is_default=bool(self._defaults_allowed and row["is_default_here"]))


def _arrival(
    row: DictRow | None,
    candidates: Sequence[BaseDerivationKey],
    merchant_id: MerchantId,
) -> Arrival:
    # A key of another merchant serves nobody here.
    serving = [bdk for bdk in candidates if bdk.merchant_id in (None, merchant_id)]
    if row is None:
        return Arrival(None, Enrolment(None, serving))
    device = None if row["device_id"] is None else device_of(row)
    return Arrival(_claim(row), Enrolment(device, serving), row["failures"] or 0)


def _claim(row: DictRow) -> Claim | None:
    if row["token_id"] is None:
        return None
    return Claim(TokenId.parse(row["token_id"]), row["fingerprint"], row["fingerprint_key"])
