"""The record of a decrypt: who asked for what, when, and what came of it (PCI DSS 10.2.1.1, 10.2.2).

It never holds card data, not even the last four digits.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from payment_token.domain.identifiers import MerchantId, RequestId
from payment_token.domain.token_id import TokenId
from payment_token.domain.worker_policy import ReleaseField, Worker


class Outcome(StrEnum):
    RELEASED = "released"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DecryptEvent:
    """What a refused request named is recorded as far as it was readable, else it is ``None``."""

    event_id: UUID
    event_time: datetime
    outcome: Outcome
    code: str
    worker: Worker
    request_id: RequestId
    merchant_id: MerchantId | None = None
    token_id: TokenId | None = None
    purpose: str | None = None
    fields: frozenset[ReleaseField] = frozenset()
    key_name: str | None = None

    @property
    def receipt(self) -> str:
        """What the worker keeps, to show later which record its release has. Opaque to workers."""
        return f"ar1.{self.event_id.hex}"
