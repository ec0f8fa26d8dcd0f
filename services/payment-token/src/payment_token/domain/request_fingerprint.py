"""A keyed hash that tells whether two requests under one idempotency key ask for the same.

It is keyed, because the metadata of a request can be guessed and a bare hash would confirm the guess. What is hashed
is the request as it was read, not as it was written: white space and the order of names make no difference.
"""

import hmac

from payment_token.domain.device_payload import EncryptedPayload
from payment_token.domain.keys import NamedKey
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.tokenise_request import TokeniseRequest

_LABEL = length_prefixed(b"payment-token/request-fingerprint/v1")


def request_fingerprint(request: TokeniseRequest, key: NamedKey) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    payload = request.payload
    metadata = [text.encode() for pair in sorted(request.metadata.items()) for text in pair]
    message = _LABEL + length_prefixed(
        request.merchant_id.encode(),
        request.device_id.encode(),
        str(request.ttl_seconds).encode(),
        _key_name(payload).encode(),
        str(payload.scheme).encode(),
        str(payload.key_variant).encode(),
        str(payload.cipher).encode(),
        str(payload.mode).encode(),
        b"" if payload.iv is None else b"iv" + payload.iv,
        str(len(payload.parts)).encode(),
        *_content(payload),
        *metadata,
    )
    return hmac.digest(key.key.reveal(), message, "sha256")


def _content(payload: EncryptedPayload) -> list[bytes]:
    # A message of a reader is no part: none of those before it in the fingerprint says so.
    if payload.frame is not None:
        return [payload.frame.container.encode(), payload.frame.frame.reveal()]
    return [field for part in payload.parts for field in (part.format.encode(), part.ciphertext)]


def _key_name(payload: EncryptedPayload) -> str:
    # The epoch of device-aead stands where DUKPT has its KSN, so that what is stored for DUKPT stays as it was.
    epoch = "" if payload.key_epoch is None else f"epoch {payload.key_epoch}"
    return (payload.ksn or "").upper() + epoch
