"""Revoking ends a token for good: its sealed records are shredded. Doing it again changes nothing and is fine."""

from payment_token.domain.errors import TokenNotFoundError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.ports import TokenStore
from payment_token.domain.token_id import TokenId


class RevokeToken:
    def __init__(self, *, store: TokenStore) -> None:
        self._store = store

    async def __call__(self, merchant_id: MerchantId, payment_token: str) -> None:
        """Raises TokenNotFoundError."""
        if not await self._store.revoke(merchant_id, TokenId.parse(payment_token)):
            raise TokenNotFoundError
