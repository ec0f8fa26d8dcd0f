"""Revoking ends a token for good: its sealed records are shredded. Doing it again changes nothing and is fine.

Its record comes first: the log may tell of a revocation whose caller heard of an outage, and asks again; it never leaves
out one that happened.
"""

from payment_token.domain.audit import Actor, AuditEvent, EventKind, Outcome
from payment_token.domain.errors import TokenNotFoundError
from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.ports import AuditLog, TokenStore
from payment_token.domain.token import TokenStatus
from payment_token.domain.token_id import TokenId


class RevokeToken:
    def __init__(self, *, store: TokenStore, audit_log: AuditLog) -> None:
        self._store = store
        self._audit_log = audit_log

    async def __call__(
        self, caller: Actor, request_id: RequestId, merchant_id: MerchantId, payment_token: str
    ) -> None:
        """Raises TokenNotFoundError."""
        token_id = TokenId.parse(payment_token)
        stored = await self._store.get(merchant_id, token_id)
        if stored is None:
            raise TokenNotFoundError
        if stored.token.status is TokenStatus.REVOKED:
            return
        event = AuditEvent(
            EventKind.TOKEN_REVOKED,
            Outcome.DONE,
            caller,
            request_id=request_id,
            merchant_id=merchant_id,
            token_id=token_id,
        )
        await self._audit_log.record(event)
        if not await self._store.revoke(merchant_id, token_id):
            raise TokenNotFoundError
