"""API keys: how a POS integrator proves which merchants it may act for, and what it may do for them.

A key is ``ptk_`` + its public id + ``_`` + a secret of 256 random bits. The secret is shown once and stored as a
SHA-256 hash: with that many random bits there is nothing to guess, so no slow hash is needed.

A key ends when it is revoked, or at its ``expires_at`` by the database's clock.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from payment_token.domain.errors import ForbiddenError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Rate
from payment_token.domain.sensitive import SensitiveText

_FORM = re.compile(r"ptk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """``ADMIN`` is for the routes of devices. It includes no other scope."""

    TOKENS_WRITE = "tokens:write"
    TOKENS_READ = "tokens:read"
    ADMIN = "admin"


DEFAULT_SCOPES = frozenset({Scope.TOKENS_WRITE, Scope.TOKENS_READ})
"""What an integrator's tills need, and what every key could do before there were scopes."""


@dataclass(frozen=True, slots=True)
class PresentedKey:
    key_id: str
    secret_sha256: bytes

    @classmethod
    def parse(cls, text: SensitiveText) -> Self:
        """Raises UnauthenticatedError for text that cannot be an API key."""
        match = _FORM.fullmatch(text.reveal())
        if match is None:
            raise UnauthenticatedError
        return cls(match[1], _sha256(match[2]))


@dataclass(frozen=True, slots=True)
class APIKey:
    key_id: str
    name: str
    merchants: tuple[MerchantId, ...]
    secret_sha256: bytes
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    expires_at: datetime | None = None
    rate: Rate | None = None
    replaced_by: str | None = None
    last_used_at: datetime | None = None

    def has_ended(self, now: datetime) -> bool:
        return self.revoked_at is not None or (
            self.expires_at is not None and self.expires_at <= now
        )

    def authenticate(self, presented: PresentedKey, now: datetime) -> None:
        """Raises UnauthenticatedError for a wrong secret and for a key that has ended, without saying which."""
        matches = hmac.compare_digest(self.secret_sha256, presented.secret_sha256)
        if not matches or self.has_ended(now):
            raise UnauthenticatedError

    def require(self, scope: Scope) -> None:
        """Raises ForbiddenError, which names the scope."""
        if scope not in self.scopes:
            raise ForbiddenError(f"This API key lacks the scope {scope}.")

    def acting_for(self, merchant_id: MerchantId | None) -> MerchantId:
        """The merchant of a request. It may be left out where the key names exactly one. Raises ForbiddenError."""
        if merchant_id is None and len(self.merchants) == 1:
            return self.merchants[0]
        if merchant_id not in self.merchants:
            raise ForbiddenError("This API key does not act for that merchant.")
        return merchant_id


@dataclass(frozen=True, slots=True)
class KeyReading:
    """A key as the database had it at a moment of the database's clock."""

    key: APIKey
    read_at: datetime

    @property
    def seconds_left(self) -> float:
        """From that moment until it expires."""
        if self.key.expires_at is None:
            return float("inf")
        return (self.key.expires_at - self.read_at).total_seconds()


def new_api_key(
    name: str,
    merchants: tuple[MerchantId, ...],
    random: Callable[[int], bytes],
    *,
    scopes: frozenset[Scope] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
    rate: Rate | None = None,
) -> tuple[APIKey, SensitiveText]:
    """Returns the key to store and the text to show once."""
    key_id = random(8).hex()
    secret = urlsafe_b64encode(random(32)).rstrip(b"=").decode()
    key = APIKey(
        key_id, name, merchants, _sha256(secret), scopes=scopes, expires_at=expires_at, rate=rate
    )
    return key, SensitiveText(f"ptk_{key_id}_{secret}")


def successor_of(
    key: APIKey, random: Callable[[int], bytes], expires_at: datetime | None
) -> tuple[APIKey, SensitiveText]:
    """May do the same, as often, for the same merchants."""
    return new_api_key(
        key.name,
        key.merchants,
        random,
        scopes=key.scopes,
        expires_at=expires_at,
        rate=key.rate,
    )


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
