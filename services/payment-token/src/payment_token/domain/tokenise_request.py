"""A request for a token, valid in form."""

from collections.abc import Mapping
from dataclasses import dataclass

from payment_token.domain.device_payload import EncryptedPayload
from payment_token.domain.identifiers import DeviceId, MerchantId


@dataclass(frozen=True, slots=True)
class TokeniseRequest:
    """``ttl_seconds`` ``None`` asks for the default life. ``api_key_id`` names who asks; a request is the same whoever sends it."""

    idempotency_key: str
    merchant_id: MerchantId
    device_id: DeviceId
    payload: EncryptedPayload
    ttl_seconds: int | None
    metadata: Mapping[str, str]
    api_key_id: str = ""
