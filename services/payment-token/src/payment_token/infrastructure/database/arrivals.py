"""Claims, terminals and BDKs of the requests that arrive. The contract is :class:`payment_token.domain.ports.Arrivals`."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from payment_token.domain.arrival import Arrival
from payment_token.domain.enrolment import BaseDerivationKey, Enrolment
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.token import Claim
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.columns import text_column
from payment_token.infrastructure.database.device_directory import bdk_of, device_of
from payment_token.infrastructure.database.faults import batch_connection_of, connection_of
from payment_token.infrastructure.database.group_commit import GroupCommit
from payment_token.infrastructure.database.pool import Pool

_CLAIMS_AND_DEVICES = """
SELECT asked.number, held.token_id, held.fingerprint, held.fingerprint_key, devices.*
  FROM unnest(%b::text[], %b::text[], %b::text[]) WITH ORDINALITY
       AS asked (merchant_id, idempotency_key, device_id, number)
  LEFT JOIN token_idempotency_keys AS held
    ON held.merchant_id = asked.merchant_id AND held.idempotency_key = asked.idempotency_key
   AND held.expires_at > clock_timestamp()
  LEFT JOIN devices ON devices.merchant_id = asked.merchant_id AND devices.device_id = asked.device_id
 WHERE held.token_id IS NOT NULL OR devices.device_id IS NOT NULL
"""

# Every key that could serve one of several terminals. A retired key serves nobody.
_CANDIDATES = """
SELECT *, (is_default OR key_uri = %(default_uri)b) AS is_default_here
  FROM base_derivation_keys
 WHERE retired_at IS NULL
   AND (is_default OR key_uri = %(default_uri)b OR bdk_id = ANY(%(bdk_ids)b::text[])
        OR EXISTS (SELECT FROM unnest(%(ksns)b::text[]) AS ksn WHERE starts_with(ksn, ksn_prefix)))
 ORDER BY key_uri = %(default_uri)b DESC, bdk_id
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    merchant_id: MerchantId
    idempotency_key: str
    device_id: DeviceId
    ksn: str


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
        self, merchant_id: MerchantId, idempotency_key: str, device_id: DeviceId, ksn: str
    ) -> Arrival:
        return await self._look_up(_Asked(merchant_id, idempotency_key, device_id, ksn))

    async def _look_up_many(self, asked: Sequence[_Asked]) -> Sequence[Arrival]:
        async with batch_connection_of(self._batches) as connection:
            return await self._read(connection, asked)

    async def _look_up_one(self, asked: _Asked) -> Arrival:
        async with connection_of(self._pool) as connection:
            return (await self._read(connection, [asked]))[0]

    async def _read(
        self, connection: AsyncConnection, asked: Sequence[_Asked]
    ) -> Sequence[Arrival]:
        cursor = connection.cursor(row_factory=dict_row, binary=True)
        names = (
            text_column(one.merchant_id for one in asked),
            text_column(one.idempotency_key for one in asked),
            text_column(one.device_id for one in asked),
        )
        await cursor.execute(_CLAIMS_AND_DEVICES, names, prepare=True)
        known = {row["number"]: row for row in await cursor.fetchall()}
        await cursor.execute(
            _CANDIDATES,
            {
                "default_uri": self._default_bdk_uri,
                "bdk_ids": text_column({row["bdk_id"] for row in known.values()} - {None}),
                "ksns": text_column({one.ksn for one in asked}),
            },
            prepare=True,
        )
        candidates = [self._candidate(row) for row in await cursor.fetchall()]
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
    return Arrival(_claim(row), Enrolment(device, serving))


def _claim(row: DictRow) -> Claim | None:
    if row["token_id"] is None:
        return None
    return Claim(TokenId.parse(row["token_id"]), row["fingerprint"], row["fingerprint_key"])
