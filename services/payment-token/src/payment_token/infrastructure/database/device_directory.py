"""Registered terminals and the names of BDKs, in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from payment_token.domain.counter_window import ReplayRule
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.enrolment import (
    BaseDerivationKey,
    BDKAlgorithm,
    Device,
    DeviceState,
)
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

BDK = (
    "bdk_id",
    "key_uri",
    "algorithm",
    "ksn_prefix",
    "allow_pin_variant",
    "profile",
    "merchant_id",
    "replay_rule",
)
"""The columns that :func:`bdk_of` reads."""

DEVICE = ("merchant_id", "device_id", "bdk_id", "state", "profile", "initial_key_ids", "serial")
"""The columns that :func:`device_of` reads."""

_DEVICE = "SELECT * FROM devices WHERE merchant_id = %s AND device_id = %s"

# A key serves one derivation scheme: what terminals of one send must never be a question to a key of another.
_OTHER_USE = (
    "SELECT bdk_id FROM base_derivation_keys WHERE key_uri = %s AND algorithm <> %s LIMIT 1"
)

_INSERT_BDK = """
INSERT INTO base_derivation_keys
       (bdk_id, key_uri, algorithm, ksn_prefix, allow_pin_variant, is_default, key_check_value, profile, merchant_id,
        replay_rule)
VALUES (%(bdk_id)s, %(key_uri)s, %(algorithm)s, %(ksn_prefix)s, %(allow_pin_variant)s, %(is_default)s,
        %(key_check_value)s, %(profile)s, %(merchant_id)s, %(replay_rule)s)
"""

_RETIRE_BDK = """
UPDATE base_derivation_keys SET retired_at = clock_timestamp() WHERE bdk_id = %s AND retired_at IS NULL
"""

_SET_REPLAY_RULE = "UPDATE base_derivation_keys SET replay_rule = %s WHERE bdk_id = %s"

_IS_BOUND = "SELECT 1 FROM device_initial_keys WHERE bdk_id = %s AND initial_key_id = %s"


class AlreadyRegisteredError(Exception):
    """The name, or the KSN prefix, is taken."""


@dataclass(frozen=True, slots=True)
class RegisteredBDK:
    """``retired_at`` is ``None`` while it serves."""

    bdk: BaseDerivationKey
    key_check_value: str
    created_at: datetime
    retired_at: datetime | None


class PostgresDeviceDirectory:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register_bdk(self, bdk: BaseDerivationKey, key_check_value: str) -> None:
        """Raises AlreadyRegisteredError when the id, the KSN prefix, or the key for another algorithm is taken."""
        row = {
            "bdk_id": bdk.bdk_id,
            "key_uri": bdk.key_uri,
            "algorithm": bdk.algorithm,
            "ksn_prefix": bdk.ksn_prefix,
            "allow_pin_variant": bdk.allow_pin_variant,
            "is_default": bdk.is_default,
            "key_check_value": key_check_value,
            "profile": profile_json(bdk.profile),
            "merchant_id": bdk.merchant_id,
            "replay_rule": bdk.replay_rule,
        }
        async with connection_of(self._pool) as connection:
            other = await connection.execute(_OTHER_USE, (bdk.key_uri, bdk.algorithm))
            if other.rowcount:
                raise AlreadyRegisteredError
            await _insert(connection, _INSERT_BDK, row)

    async def set_replay_rule(self, bdk_id: str, rule: ReplayRule) -> bool:
        """From now on. ``False`` when there is no such key."""
        async with connection_of(self._pool) as connection:
            return (await connection.execute(_SET_REPLAY_RULE, (rule, bdk_id))).rowcount == 1

    async def retire_bdk(self, bdk_id: str) -> bool:
        """From now on it serves nobody. ``False`` when there is no such key, or it was retired before."""
        async with connection_of(self._pool) as connection:
            return (await connection.execute(_RETIRE_BDK, (bdk_id,))).rowcount == 1

    async def find_device(self, merchant_id: MerchantId, device_id: DeviceId) -> Device | None:
        async with connection_of(self._pool) as connection:
            return await self._device(connection, merchant_id, device_id)

    async def is_bound(self, bdk_id: str, initial_key_id: bytes) -> bool:
        """Whether some terminal has this initial key."""
        async with connection_of(self._pool) as connection:
            return (await connection.execute(_IS_BOUND, (bdk_id, initial_key_id))).rowcount > 0

    async def find_bdk(self, bdk_id: str) -> RegisteredBDK | None:
        found = [known for known in await self.list_bdks() if known.bdk.bdk_id == bdk_id]
        return found[0] if found else None

    async def serving(self, bdk_id: str, merchant_id: MerchantId) -> BaseDerivationKey | None:
        """``None`` when there is no such key, it is retired, or serves another merchant."""
        known = await self.find_bdk(bdk_id)
        if known is None or known.retired_at is not None:
            return None
        return known.bdk if known.bdk.merchant_id in (None, merchant_id) else None

    async def list_bdks(self) -> Sequence[RegisteredBDK]:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute("SELECT * FROM base_derivation_keys ORDER BY bdk_id")
            return [
                RegisteredBDK(
                    bdk_of(row, is_default=row["is_default"]),
                    row["key_check_value"],
                    row["created_at"],
                    row["retired_at"],
                )
                async for row in cursor
            ]

    @staticmethod
    async def _device(
        connection: AsyncConnection, merchant_id: MerchantId, device_id: DeviceId
    ) -> Device | None:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(_DEVICE, (merchant_id, device_id))
        row = await cursor.fetchone()
        return None if row is None else device_of(row)


async def _insert(
    connection: AsyncConnection, statement: LiteralString, row: Mapping[str, object]
) -> None:
    cursor = await connection.execute(statement + " ON CONFLICT DO NOTHING", row)
    if cursor.rowcount == 0:
        raise AlreadyRegisteredError


def bdk_of(row: DictRow, *, is_default: bool) -> BaseDerivationKey:
    return BaseDerivationKey(
        bdk_id=row["bdk_id"],
        key_uri=row["key_uri"],
        algorithm=BDKAlgorithm(row["algorithm"]),
        ksn_prefix=row["ksn_prefix"],
        allow_pin_variant=row["allow_pin_variant"],
        is_default=is_default,
        profile=profile_of(row["profile"]),
        merchant_id=row["merchant_id"],
        replay_rule=ReplayRule(row["replay_rule"]),
    )


def device_of(row: DictRow) -> Device:
    return Device(
        merchant_id=row["merchant_id"],
        device_id=row["device_id"],
        bdk_id=row["bdk_id"],
        state=DeviceState(row["state"]),
        profile=profile_of(row["profile"]),
        initial_key_ids=frozenset(row["initial_key_ids"]),
        serial=row["serial"],
    )


def profile_json(profile: DeviceProfile) -> Jsonb:
    values = {name: value for name, value in asdict(profile).items() if value is not None}
    if profile.iv is not None:
        values["iv"] = profile.iv.hex()
    return Jsonb(values)


def profile_of(stored: Mapping[str, str]) -> DeviceProfile:
    return DeviceProfile(
        scheme=Scheme(stored["scheme"]) if "scheme" in stored else None,
        key_variant=KeyVariant(stored["key_variant"]) if "key_variant" in stored else None,
        cipher=Cipher(stored["cipher"]) if "cipher" in stored else None,
        mode=Mode(stored["mode"]) if "mode" in stored else None,
        iv=bytes.fromhex(stored["iv"]) if "iv" in stored else None,
        container=Container(stored["container"]) if "container" in stored else None,
    )
