"""Tokens and idempotency claims in PostgreSQL. The contract is :class:`payment_token.domain.ports.TokenStore`.

Correctness rests on unique constraints and row locks under READ COMMITTED. Locks are taken in one order everywhere:
key versions, initial key, idempotency key.
"""

from datetime import timedelta

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from payment_token.domain.card_data import Brand, CardChecks, EntryMode, MaskedCard
from payment_token.domain.errors import DatabaseUnavailableError, UnknownDeviceError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.ports import InactiveKeyError
from payment_token.domain.token import (
    Claim,
    DeviceBinding,
    NewToken,
    StoredToken,
    Token,
    TokenStatus,
)
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.faults import connection_of
from payment_token.infrastructure.database.pool import Pool

_FIND_CLAIM = """
SELECT token_id, fingerprint, fingerprint_key
  FROM token_idempotency_keys
 WHERE merchant_id = %s AND idempotency_key = %s AND expires_at > clock_timestamp()
"""

# A shared advisory lock writes no tuple. Retiring a key version takes it exclusively before it counts rows, so a
# version that is seen active after this lock stays active until this transaction ends.
_LOCK_KEY_VERSIONS = """
SELECT pg_advisory_xact_lock_shared(hashtextextended('service-key:' || %s, 0)),
       pg_advisory_xact_lock_shared(hashtextextended('index-key:' || %s, 0))
"""

# A statement of its own: the lock above may have waited for a retirement, which only a new snapshot can see. Times
# were computed from this process's estimate of the database clock; what is off by more than two seconds is refused.
_CHECK_KEYS_AND_CLOCK = """
SELECT EXISTS (SELECT FROM encryption_keys
                WHERE purpose = 'service' AND version = %s AND state = 'active')
       AND EXISTS (SELECT FROM encryption_keys
                    WHERE purpose = 'index' AND version = %s AND state = 'active') AS keys_active,
       abs(extract(epoch FROM now() - %s::timestamptz)) <= 2 AS clock_agrees
"""

_BIND_INITIAL_KEY = """
INSERT INTO device_initial_keys (bdk_id, initial_key_id, merchant_id, device_id)
VALUES (%(bdk_id)s, %(initial_key_id)s, %(merchant_id)s, %(device_id)s)
    ON CONFLICT (bdk_id, initial_key_id) DO NOTHING
"""

_INITIAL_KEY_IS_OURS = """
SELECT FROM device_initial_keys
 WHERE bdk_id = %(bdk_id)s AND initial_key_id = %(initial_key_id)s
   AND merchant_id = %(merchant_id)s AND device_id = %(device_id)s
"""

# Waits for another transaction that holds the same key. Takes over a claim whose window has passed.
_CLAIM = """
INSERT INTO token_idempotency_keys AS held
       (merchant_id, idempotency_key, token_id, fingerprint, fingerprint_key, created_at, expires_at)
VALUES (%(merchant_id)s, %(idempotency_key)s, %(token_id)s, %(fingerprint)s, %(fingerprint_key)s,
        now(), now() + %(window)s)
    ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
   SET token_id = excluded.token_id, fingerprint = excluded.fingerprint,
       fingerprint_key = excluded.fingerprint_key, created_at = excluded.created_at,
       expires_at = excluded.expires_at
 WHERE held.expires_at <= now()
"""

_INSERT = """
INSERT INTO payment_tokens
       (merchant_id, purge_day, token_id, status, created_at, expires_at, card_brand, card_bin, card_last4,
        card_exp_month, card_exp_year, card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata,
        device_id, bdk_id, service_key, sealed_pan, sealed_sad, sad_deadline)
VALUES (%(merchant_id)s, %(purge_day)s, %(token_id)s, 'active', %(created_at)s, %(expires_at)s, %(card_brand)s,
        %(card_bin)s, %(card_last4)s, %(card_exp_month)s, %(card_exp_year)s, %(card_entry_mode)s, %(card_luhn)s,
        %(card_expired)s, %(card_expiry_valid)s, %(metadata)s, %(device_id)s, %(bdk_id)s, %(service_key)s,
        %(sealed_pan)s, %(sealed_sad)s, %(sad_deadline)s)
"""

_GET = """
SELECT * FROM payment_tokens WHERE merchant_id = %s AND purge_day = %s AND token_id = %s
"""

_REVOKE = """
UPDATE payment_tokens
   SET status = 'revoked', revoked_at = coalesce(revoked_at, clock_timestamp()), sealed_pan = NULL,
       sealed_sad = NULL,
       sad_destroyed_at = CASE WHEN sad_deadline IS NOT NULL
                               THEN coalesce(sad_destroyed_at, clock_timestamp()) END
 WHERE merchant_id = %s AND purge_day = %s AND token_id = %s
"""


class PostgresTokenStore:
    def __init__(self, pool: Pool, idempotency_window: timedelta) -> None:
        self._pool = pool
        self._window = idempotency_window

    async def find_claim(self, merchant_id: MerchantId, idempotency_key: str) -> Claim | None:
        async with connection_of(self._pool) as connection:
            return await _find_claim(connection, merchant_id, idempotency_key)

    async def create(self, new: NewToken) -> Claim | None:
        merchant_id = new.stored.token.merchant_id
        async with connection_of(self._pool) as connection:
            await _check_keys_and_clock(connection, new)
            await _bind_initial_key(connection, merchant_id, new.binding)
            if await self._claim(connection, new):
                await connection.execute(_INSERT, _token_row(new))
                return None
            claim = await _find_claim(connection, merchant_id, new.idempotency_key)
            await connection.rollback()
        if claim is None:
            # Its window passed between the two statements; the caller's retry takes the key over.
            raise DatabaseUnavailableError
        return claim

    async def get(self, merchant_id: MerchantId, token_id: TokenId) -> StoredToken | None:
        async with connection_of(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_GET, (merchant_id, token_id.purge_day, token_id.text))
            row = await cursor.fetchone()
        return None if row is None else _stored_token(row)

    async def revoke(self, merchant_id: MerchantId, token_id: TokenId) -> bool:
        async with connection_of(self._pool) as connection:
            cursor = await connection.execute(
                _REVOKE, (merchant_id, token_id.purge_day, token_id.text)
            )
            return cursor.rowcount == 1

    async def _claim(self, connection: AsyncConnection, new: NewToken) -> bool:
        cursor = await connection.execute(
            _CLAIM,
            {
                "merchant_id": new.stored.token.merchant_id,
                "idempotency_key": new.idempotency_key,
                "token_id": new.claim.token_id.text,
                "fingerprint": new.claim.fingerprint,
                "fingerprint_key": new.claim.fingerprint_key,
                "window": self._window,
            },
        )
        return cursor.rowcount == 1


async def _find_claim(
    connection: AsyncConnection, merchant_id: MerchantId, idempotency_key: str
) -> Claim | None:
    cursor = await connection.execute(_FIND_CLAIM, (merchant_id, idempotency_key))
    row = await cursor.fetchone()
    return None if row is None else Claim(TokenId.parse(row[0]), row[1], row[2])


async def _check_keys_and_clock(connection: AsyncConnection, new: NewToken) -> None:
    versions = (new.service_key, new.claim.fingerprint_key)
    await connection.execute(_LOCK_KEY_VERSIONS, versions)
    cursor = await connection.execute(
        _CHECK_KEYS_AND_CLOCK, (*versions, new.stored.token.created_at)
    )
    row = await cursor.fetchone()
    keys_active, clock_agrees = row or (False, False)
    if not clock_agrees:
        raise DatabaseUnavailableError(
            "The clocks of the service and its database disagree. Try again shortly."
        )
    if not keys_active:
        raise InactiveKeyError


async def _bind_initial_key(
    connection: AsyncConnection, merchant_id: MerchantId, binding: DeviceBinding
) -> None:
    row = {
        "bdk_id": binding.bdk_id,
        "initial_key_id": binding.initial_key_id,
        "merchant_id": merchant_id,
        "device_id": binding.device_id,
    }
    await connection.execute(_BIND_INITIAL_KEY, row)
    cursor = await connection.execute(_INITIAL_KEY_IS_OURS, row)
    if cursor.rowcount != 1:
        raise UnknownDeviceError


def _token_row(new: NewToken) -> dict[str, object]:
    stored, token, card = new.stored, new.stored.token, new.stored.token.card
    return {
        "merchant_id": token.merchant_id,
        "purge_day": token.token_id.purge_day,
        "token_id": token.token_id.text,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "card_brand": card.brand,
        "card_bin": card.bin,
        "card_last4": card.last4,
        "card_exp_month": card.exp_month,
        "card_exp_year": card.exp_year,
        "card_entry_mode": card.entry_mode,
        "card_luhn": card.checks.luhn,
        "card_expired": card.checks.expired,
        "card_expiry_valid": card.checks.expiry_valid,
        "metadata": Jsonb(dict(token.metadata)),
        "device_id": new.binding.device_id,
        "bdk_id": new.binding.bdk_id,
        "service_key": new.service_key,
        "sealed_pan": stored.sealed_pan,
        "sealed_sad": stored.sealed_sad,
        "sad_deadline": stored.sad_deadline,
    }


def _stored_token(row: DictRow) -> StoredToken:
    card = MaskedCard(
        brand=Brand(row["card_brand"]),
        bin=row["card_bin"],
        last4=row["card_last4"],
        exp_month=row["card_exp_month"],
        exp_year=row["card_exp_year"],
        entry_mode=EntryMode(row["card_entry_mode"]),
        checks=CardChecks(
            luhn=row["card_luhn"],
            expired=row["card_expired"],
            expiry_valid=row["card_expiry_valid"],
        ),
    )
    token = Token(
        token_id=TokenId(row["token_id"], row["purge_day"]),
        merchant_id=MerchantId(row["merchant_id"]),
        status=TokenStatus(row["status"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        card=card,
        metadata=row["metadata"],
    )
    return StoredToken(
        token, row["sealed_pan"], row["sealed_sad"], row["sad_deadline"], row["sad_destroyed_at"]
    )
