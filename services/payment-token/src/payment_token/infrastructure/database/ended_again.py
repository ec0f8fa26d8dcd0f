"""What had ended ends again in a restored database: by the owner, in a transaction. Whatever has ended stays as it is."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime

from psycopg import AsyncConnection

from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.recovery.endings import DeviceFate, Endings, KeyFate, TokenEnd
from payment_token.domain.recovery.ports import Applied

_ENDS = "unnest(%(merchants)s::text[], %(tokens)s::text[], %(times)s::timestamptz[]) AS ended (merchant, token, at)"

_REVOKE = f"""
UPDATE payment_tokens
   SET status = 'revoked', revoked_at = at, sealed_pan = NULL, sealed_sad = NULL,
       sad_destroyed_at = CASE WHEN sad_deadline IS NOT NULL THEN coalesce(sad_destroyed_at, at) END
  FROM {_ENDS}
 WHERE purge_day = %(day)s AND merchant_id = merchant AND token_id = token AND status = 'active'
"""

_END_SAD = f"""
UPDATE payment_tokens SET sealed_sad = NULL, sad_destroyed_at = at
  FROM {_ENDS}
 WHERE purge_day = %(day)s AND merchant_id = merchant AND token_id = token
   AND sad_deadline IS NOT NULL AND sad_destroyed_at IS NULL
"""

_REVOKE_API_KEY = "UPDATE api_keys SET revoked_at = %s WHERE key_id = %s AND revoked_at IS NULL"

# What replaced a rotated key is lost. It is not noted as replaced, so that it can be rotated once more.
_SHORTEN_API_KEY = """
UPDATE api_keys SET expires_at = %(at)s
 WHERE key_id = %(key)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %(at)s)
"""

_RETIRE_BDK = (
    "UPDATE base_derivation_keys SET retired_at = %s WHERE bdk_id = %s AND retired_at IS NULL"
)

# A device that was brought back since stays as the backup has it: to stop one too many is the safe side.
_STOP_DEVICE = """
UPDATE devices SET state = %(state)s, state_changed_at = %(at)s, state_reason = %(reason)s
 WHERE merchant_id = %(merchant)s AND device_id = %(device)s AND state NOT IN (%(state)s, 'retired')
"""

# A version that was made since: its wrapped key is lost, its name is taken, and of a signing key the public half still
# checks what it has signed.
_REMEMBER_KEY = """
INSERT INTO encryption_keys (purpose, version, state, kms_key_id, environment, created_at, activated_at, public_key,
                             retired_at, destroyed_at)
VALUES (%(purpose)s, %(version)s, 'destroyed', %(kek)s, %(environment)s, coalesce(%(made_at)s, clock_timestamp()),
        %(activated_at)s, %(public_key)s, %(retired_at)s, coalesce(%(destroyed_at)s, clock_timestamp()))
    ON CONFLICT DO NOTHING
"""

_DESTROYED = """
UPDATE encryption_keys
   SET state = 'destroyed', wrapped_key = NULL, destroyed_at = %(destroyed_at)s,
       retired_at = coalesce(retired_at, %(retired_at)s, %(destroyed_at)s)
 WHERE purpose = %(purpose)s AND version = %(version)s AND state <> 'destroyed'
"""

_DESTROYING = """
UPDATE encryption_keys
   SET state = 'destroying', wrapped_key = NULL, destruction_due_at = %(due_at)s,
       retired_at = coalesce(retired_at, %(retired_at)s, %(destroying_at)s)
 WHERE purpose = %(purpose)s AND version = %(version)s AND wrapped_key IS NOT NULL
"""

# What was moved away from under a retired version is under it again in a restored database, and must stay readable.
_RETIRED = """
UPDATE encryption_keys SET state = 'destroying', retired_at = %(retired_at)s
 WHERE purpose = %(purpose)s AND version = %(version)s AND state IN ('pending', 'decrypt-only')
   AND NOT EXISTS (SELECT FROM payment_tokens
                    WHERE %(purpose)s = 'service' AND service_key = %(version)s AND sealed_pan IS NOT NULL)
   AND NOT EXISTS (SELECT FROM token_idempotency_keys
                    WHERE %(purpose)s = 'index' AND fingerprint_key = %(version)s AND expires_at > clock_timestamp())
"""

_DEMOTE = """
UPDATE encryption_keys SET state = 'decrypt-only'
 WHERE purpose = %(purpose)s AND state = 'active'
   AND EXISTS (SELECT FROM encryption_keys AS pending
                WHERE pending.purpose = %(purpose)s AND pending.version = %(version)s AND pending.state = 'pending')
"""

_PROMOTE = """
UPDATE encryption_keys SET state = 'active', activated_at = %(activated_at)s
 WHERE purpose = %(purpose)s AND version = %(version)s AND state = 'pending'
"""

# Their key is gone for good. Revoked, they answer 410; left alone, each release of one would be an alarm.
_REVOKE_UNREADABLE = """
UPDATE payment_tokens
   SET status = 'revoked', revoked_at = clock_timestamp(), sealed_pan = NULL, sealed_sad = NULL,
       sad_destroyed_at = CASE WHEN sad_deadline IS NOT NULL THEN coalesce(sad_destroyed_at, clock_timestamp()) END
 WHERE service_key = ANY (%s) AND status = 'active'
"""


async def end_again(connection: AsyncConnection, endings: Endings, environment: str) -> Applied:
    # Revoked tokens have no SAD left, so they come first.
    revoked = await _end_tokens(connection, _REVOKE, endings.revoked)
    completed = await _end_tokens(connection, _END_SAD, endings.completed)
    keys = 0
    for fate in endings.keys.values():
        keys += await _meet(connection, fate, environment)
    gone = [
        version
        for (purpose, version), fate in endings.keys.items()
        if purpose is KeyPurpose.SERVICE and fate.is_gone
    ]
    return Applied(
        revoked_tokens=revoked,
        ended_sad=completed,
        revoked_api_keys=await _end_each(connection, _REVOKE_API_KEY, endings.api_keys),
        shortened_api_keys=await _shorten_api_keys(connection, endings.expiring),
        retired_bdks=await _end_each(connection, _RETIRE_BDK, endings.bdks),
        stopped_devices=await _stop_devices(connection, endings.devices),
        ended_keys=keys,
        unreadable_tokens=(
            (await connection.execute(_REVOKE_UNREADABLE, (gone,))).rowcount if gone else 0
        ),
    )


async def _end_tokens(
    connection: AsyncConnection, statement: str, ends: Mapping[str, TokenEnd]
) -> int:
    by_day: dict[date, list[TokenEnd]] = defaultdict(list)
    for end in ends.values():
        by_day[end.token_id.purge_day].append(end)
    ended = 0
    for day, of_day in by_day.items():
        parameters = {
            "day": day,
            "merchants": [end.merchant_id for end in of_day],
            "tokens": [end.token_id.text for end in of_day],
            "times": [end.at for end in of_day],
        }
        ended += (await connection.execute(statement.encode(), parameters)).rowcount
    return ended


async def _end_each(
    connection: AsyncConnection, statement: str, ends: Mapping[str, datetime]
) -> int:
    return sum(
        [
            (await connection.execute(statement.encode(), (at, name))).rowcount
            for name, at in ends.items()
        ]
    )


async def _shorten_api_keys(connection: AsyncConnection, expiring: Mapping[str, datetime]) -> int:
    return sum(
        [
            (await connection.execute(_SHORTEN_API_KEY, {"key": key_id, "at": at})).rowcount
            for key_id, at in expiring.items()
        ]
    )


async def _stop_devices(
    connection: AsyncConnection, devices: Mapping[tuple[str, str], DeviceFate]
) -> int:
    stopped = 0
    for (merchant, device), fate in devices.items():
        if not fate.state.may_send:
            parameters = {
                "merchant": merchant,
                "device": device,
                "state": fate.state,
                "at": fate.at,
                "reason": fate.reason,
            }
            stopped += (await connection.execute(_STOP_DEVICE, parameters)).rowcount
    return stopped


async def _meet(connection: AsyncConnection, fate: KeyFate, environment: str) -> int:
    parameters = {
        "purpose": fate.purpose,
        "version": fate.version,
        "kek": fate.kek or "unknown",
        "environment": environment,
        "made_at": fate.made_at,
        "activated_at": fate.activated_at,
        "public_key": fate.public_key,
        "retired_at": fate.retired_at,
        "destroying_at": fate.destroying_at,
        "due_at": fate.due_at,
        "destroyed_at": fate.destroyed_at,
    }
    changed = 0
    if fate.made_at is not None:
        changed += (await connection.execute(_REMEMBER_KEY, parameters)).rowcount
    if fate.activated_at is not None:
        await connection.execute(_DEMOTE, parameters)
        changed += (await connection.execute(_PROMOTE, parameters)).rowcount
    if fate.retired_at is not None and not fate.is_gone:
        changed += (await connection.execute(_RETIRED, parameters)).rowcount
    if fate.destroying_at is not None:
        changed += (await connection.execute(_DESTROYING, parameters)).rowcount
    if fate.destroyed_at is not None:
        changed += (await connection.execute(_DESTROYED, parameters)).rowcount
    return changed
