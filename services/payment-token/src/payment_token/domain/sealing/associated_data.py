"""What a sealed record is bound to. A record that is moved, or whose row was edited, no longer opens."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from payment_token.domain.identifiers import MerchantId
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.token_id import TokenId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FORMAT_LABEL = b"payment-token/sealed-record/v1"
_PAYLOAD = length_prefixed(_FORMAT_LABEL, b"payload")
_WRAP = length_prefixed(_FORMAT_LABEL, b"wrap")


class Purpose(StrEnum):
    PAN = "pan"
    SAD = "sad"


@dataclass(frozen=True, slots=True)
class Binding:
    """The row that a record belongs to. ``ends_at`` is the token's expiry for PAN, the deadline for SAD."""

    purpose: Purpose
    merchant_id: MerchantId
    token_id: TokenId
    environment: str
    ends_at: datetime

    def to_bytes(self) -> bytes:
        # Microseconds are what PostgreSQL stores, so the time that comes back is the time that went in.
        ends_at = (self.ends_at - _EPOCH) // _MICROSECOND
        return length_prefixed(
            self.purpose.encode(),
            self.merchant_id.encode(),
            self.token_id.text.encode(),
            self.environment.encode(),
            ends_at.to_bytes(8, "big"),
        )


def of_payload(binding: bytes) -> bytes:
    """Associated data of the payload. It names no key, so that a DEK can be wrapped anew without touching it."""
    return _PAYLOAD + binding


def of_wrap(binding: bytes, key_name: str) -> bytes:
    """Associated data of the wrapped DEK."""
    return _WRAP + binding + length_prefixed(key_name.encode("ascii"))
