"""API keys are made, changed and ended on record: first the record, then the change.

An end only ever comes nearer: an expiry is moved forward, a rotated key lives until its overlap is over and never longer than
it would have. Whoever changes a key holds it alone until the change is done, so that of two rotations at once the second finds
the key rotated, and records nothing.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from payment_token.domain.api_key import APIKey, KeyReading, successor_of
from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.ports import AuditLog
from payment_token.domain.sensitive import SensitiveText

NEVER = "never"


class APIKeyRefusedError(OperatorError):
    """The key cannot be changed in that way."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """``secret`` is shown once; the key that was rotated lives until ``until``."""

    successor: APIKey
    secret: SensitiveText
    until: datetime


class HeldKey(Protocol):
    """One key that nobody else changes meanwhile. What is done to it is done at the end of the block: all of it, or nothing."""

    @property
    def reading(self) -> KeyReading: ...

    async def revoke(self) -> None: ...

    async def expire_at(self, at: datetime) -> None: ...

    async def replace_by(self, successor: APIKey, until: datetime) -> None:
        """Adds the successor, and lets this key expire then."""
        ...


class ChangedAPIKeys(Protocol):
    async def now(self) -> datetime:
        """The database's clock."""
        ...

    async def add(self, key: APIKey) -> None: ...

    def held(self, key_id: str) -> AbstractAsyncContextManager[HeldKey | None]:
        """``None`` when there is no such key. Raises APIKeyRefusedError when somebody else has it for too long."""
        ...


class ChangeAPIKeys:
    def __init__(self, *, store: ChangedAPIKeys, audit_log: AuditLog, operator: Actor) -> None:
        self._store = store
        self._audit_log = audit_log
        self._operator = operator

    async def now(self) -> datetime:
        return await self._store.now()

    async def add(self, key: APIKey) -> None:
        await self._record(EventKind.API_KEY_CREATED, key)
        await self._store.add(key)

    async def revoke(self, key_id: str) -> bool:
        """``False`` when there is no such key. Again is fine."""
        async with self._store.held(key_id) as held:
            if held is None:
                return False
            key = held.reading.key
            if key.revoked_at is None:
                await self._record(EventKind.API_KEY_REVOKED, key)
                await held.revoke()
            return True

    async def expire(self, key_id: str, when: Callable[[datetime], datetime]) -> datetime | None:
        """``when`` says by the database's clock when the key shall expire. Returns it; ``None`` when there is no such key.

        Raises APIKeyRefusedError for a key that has ended, and for a later end than the key has.
        """
        async with self._store.held(key_id) as held:
            if held is None:
                return None
            key, now = held.reading.key, held.reading.read_at
            _check_alive(key, now)
            at = when(now)
            if key.expires_at is not None and at > key.expires_at:
                raise APIKeyRefusedError(
                    f"API key {key_id} expires at {_exact(key.expires_at)} already, and its end cannot be put off."
                    " Rotate it: its successor has a life of its own."
                )
            await self._record(EventKind.API_KEY_EXPIRY_CHANGED, key, expires_at=_exact(at))
            await held.expire_at(at)
            return at

    async def rotate(
        self,
        key_id: str,
        overlap: timedelta,
        expiry: Callable[[datetime], datetime | None],
        random: Callable[[int], bytes],
    ) -> Rotated | None:
        """``expiry`` gives the successor's, by the database's clock. ``None`` when there is no such key.

        Raises APIKeyRefusedError for a key that has ended or was rotated before.

        1. hold the key
        2. make its successor
        3. it lives until the overlap is over, or its own end if that is sooner
        4. record both
        5. add the one and change the other, in one transaction
        """
        # 1.
        async with self._store.held(key_id) as held:
            if held is None:
                return None
            key, now = held.reading.key, held.reading.read_at
            _check_alive(key, now)
            if key.replaced_by is not None:
                raise APIKeyRefusedError(
                    f"API key {key_id} was rotated before, to {key.replaced_by}: rotate that one."
                )
            # 2.
            successor, secret = successor_of(key, random, expiry(now))
            # 3.
            until = now + overlap if key.expires_at is None else min(now + overlap, key.expires_at)
            # 4.
            await self._record(EventKind.API_KEY_CREATED, successor, replaces=key_id)
            await self._record(
                EventKind.API_KEY_ROTATED,
                key,
                expires_at=_exact(until),
                replaced_by=successor.key_id,
            )
            # 5.
            await held.replace_by(successor, until)
        return Rotated(successor, secret, until)

    async def _record(self, kind: EventKind, key: APIKey, **more: str) -> None:
        details = {
            "key_id": key.key_id,
            "name": key.name,
            "merchants": ",".join(key.merchants),
            "scopes": ",".join(sorted(key.scopes)),
            "expires_at": NEVER if key.expires_at is None else _exact(key.expires_at),
            "rate": "unlimited" if key.rate is None else str(key.rate),
        }
        await self._audit_log.record(
            AuditEvent(kind, Outcome.DONE, self._operator, details=details | more)
        )


def _check_alive(key: APIKey, now: datetime) -> None:
    if key.revoked_at is not None:
        raise APIKeyRefusedError(f"API key {key.key_id} is revoked. Make a new one.")
    if key.expires_at is not None and key.has_ended(now):
        raise APIKeyRefusedError(
            f"API key {key.key_id} has expired at {_exact(key.expires_at)}. Make a new one."
        )


def _exact(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
