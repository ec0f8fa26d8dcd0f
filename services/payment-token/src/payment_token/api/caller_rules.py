"""What a caller of the public API says of itself, in either protocol: its API key, its idempotency key, its merchant."""

from collections.abc import Collection, Sequence
from typing import Protocol

from payment_token.domain.api_key import APIKey, PresentedKey
from payment_token.domain.errors import (
    IdempotencyKeyMissingError,
    InvalidFieldError,
    UnauthenticatedError,
)
from payment_token.domain.identifiers import IDEMPOTENCY_KEY, MERCHANT_ID, MerchantId
from payment_token.domain.sensitive import SensitiveText


class APIKeys(Protocol):
    async def authenticate(self, presented: PresentedKey) -> APIKey:
        """Raises UnauthenticatedError for an unknown id, a wrong secret and a revoked key, all alike."""
        ...


async def authenticated(authorization: Sequence[str], api_keys: APIKeys) -> APIKey:
    """``authorization`` is every value that came under this name: more than one is none."""
    scheme, _, text = (authorization[0] if len(authorization) == 1 else "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError
    return await api_keys.authenticate(PresentedKey.parse(SensitiveText(text.strip())))


def idempotency_key(given: Collection[str], name: str) -> str:
    """``given`` are the different values; ``name`` is how the caller knows it.

    Raises IdempotencyKeyMissingError, InvalidFieldError.
    """
    values = set(given)
    if not values or values == {""}:
        raise IdempotencyKeyMissingError
    key, *others = values
    if others or not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidFieldError(name, "must be one key of 1 to 255 visible ASCII characters")
    return key


def merchant_of(api_key: APIKey, given: Sequence[str]) -> MerchantId:
    """Raises InvalidFieldError, ForbiddenError."""
    if not given:
        if len(api_key.merchants) != 1:
            raise InvalidFieldError(
                "merchant_id", "is required: this API key acts for several merchants"
            )
        return api_key.acting_for(None)
    if len(given) > 1 or not MERCHANT_ID.fullmatch(given[0]):
        raise InvalidFieldError("merchant_id", "must be one merchant id")
    return api_key.acting_for(MerchantId(given[0]))
