"""The masked view of a token, for whoever may act for its merchant."""

from payment_token.domain.errors import TokenNotFoundError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.ports import Clock, TokenStore
from payment_token.domain.token import Token
from payment_token.domain.token_id import TokenId


class ViewToken:
    def __init__(self, *, clock: Clock, store: TokenStore) -> None:
        self._clock = clock
        self._store = store

    async def __call__(self, merchant_id: MerchantId, payment_token: str) -> Token:
        """Raises TokenNotFoundError, TokenExpiredError, TokenRevokedError."""
        stored = await self._store.get(merchant_id, TokenId.parse(payment_token))
        if stored is None:
            raise TokenNotFoundError
        stored.token.check_usable(self._clock.now())
        return stored.token
