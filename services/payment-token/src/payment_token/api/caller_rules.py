"""What a caller of the public API says of itself, in either protocol: its API key, its idempotency key, its merchant.

Here alone is decided whether a key may do what is asked, and whether it comes too often.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from payment_token.domain.api_key import APIKey, PresentedKey, Scope
from payment_token.domain.cleartext_guard import refuse_card_number
from payment_token.domain.errors import (
    IdempotencyKeyMissingError,
    InvalidFieldError,
    UnauthenticatedError,
)
from payment_token.domain.identifiers import IDEMPOTENCY_KEY, MERCHANT_ID, MerchantId
from payment_token.domain.permits import Permits
from payment_token.domain.sensitive import SensitiveText


class APIKeys(Protocol):
    async def authenticate(self, presented: PresentedKey) -> APIKey:
        """Raises UnauthenticatedError for an unknown id, a wrong secret, a revoked and an expired key, all alike."""
        ...


async def authenticated(
    authorization: Sequence[str], api_keys: APIKeys, scope: Scope, permits: Permits
) -> APIKey:
    """The key, which has the scope, and a permit of its rate for this request. All of it before anything of a body is read.

    ``authorization`` is every value that came under this name: more than one is none. Raises UnauthenticatedError,
    ForbiddenError, RateLimitedError.
    """
    api_key = await _known(authorization, api_keys)
    api_key.require(scope)
    await permits.take(api_key.key_id, api_key.rate)
    return api_key


async def _known(authorization: Sequence[str], api_keys: APIKeys) -> APIKey:
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
    """Raises InvalidFieldError, CleartextCardDataError, ForbiddenError."""
    if not given:
        if len(api_key.merchants) != 1:
            raise InvalidFieldError(
                "merchant_id", "is required: this API key acts for several merchants"
            )
        return api_key.acting_for(None)
    for text in given:
        refuse_card_number("merchant_id", text)
    if len(given) > 1 or not MERCHANT_ID.fullmatch(given[0]):
        raise InvalidFieldError("merchant_id", "must be one merchant id")
    return api_key.acting_for(MerchantId(given[0]))
