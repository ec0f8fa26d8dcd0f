"""API keys: how a POS integrator proves which merchants it may act for.

A key is ``ptk_`` + its public id + ``_`` + a secret of 256 random bits. The secret is shown once and stored as a
SHA-256 hash: with that many random bits there is nothing to guess, so no slow hash is needed.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from payment_token.domain.errors import ForbiddenError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.sensitive import SensitiveText

_FORM = re.compile(r"ptk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


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

    def authenticate(self, presented: PresentedKey) -> None:
        """Raises UnauthenticatedError for a wrong secret and for a revoked key, without saying which."""
        matches = hmac.compare_digest(self.secret_sha256, presented.secret_sha256)
        if not matches or self.revoked_at is not None:
            raise UnauthenticatedError

    def acting_for(self, merchant_id: MerchantId | None) -> MerchantId:
        """The merchant of a request. It may be left out where the key names exactly one. Raises ForbiddenError."""
        if merchant_id is None and len(self.merchants) == 1:
            return self.merchants[0]
        if merchant_id not in self.merchants:
            raise ForbiddenError("This API key does not act for that merchant.")
        return merchant_id


def new_api_key(
    name: str, merchants: tuple[MerchantId, ...], random: Callable[[int], bytes]
) -> tuple[APIKey, SensitiveText]:
    """Returns the key to store and the text to show once."""
    key_id = random(8).hex()
    secret = urlsafe_b64encode(random(32)).rstrip(b"=").decode()
    return APIKey(key_id, name, merchants, _sha256(secret)), SensitiveText(f"ptk_{key_id}_{secret}")


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
