"""Bodies of the public API, as they stand in JSON and in OpenAPI."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import to_json

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import (
    Cipher,
    EncryptedPart,
    EncryptedPayload,
    KeyVariant,
    Mode,
    PartFormat,
    Scheme,
)
from payment_token.domain.errors import CleartextCardDataError
from payment_token.domain.identifiers import DEVICE_ID, MERCHANT_ID, DeviceId, MerchantId
from payment_token.domain.token import Token
from payment_token.domain.tokenise_request import TokeniseRequest
from payment_token.domain.unencrypted import is_unencrypted

PARTS_LIMIT = 8

# ";4111111111111111=30122010000012345678?", padded with zeros, under the BDK that ANSI X9.24-3 publishes for testing
# (FEDCBA9876543210F1F1F1F1F1F1F1F1) and the KSN below. A test decrypts it.
EXAMPLE_KSN = "123456789012345600000001"
EXAMPLE_CIPHERTEXT = "INTzKI5wW4U43LVx9m5DViSUffdJYGl1YnzGNkcLWRDW8B3IZyQxgHpac1oyrpfn"

_EXAMPLE_TOKEN: JsonDict = {
    "payment_token": "pt_dbjthkgnpfsqmnqrpdtdfkfcgtdhhdpchcdv",
    "merchant_id": "m_4711",
    "status": "active",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "expires_at": "2026-02-01T12:00:00.000000Z",
    "card": {
        "brand": "visa",
        "bin": "411111",
        "last4": "1111",
        "exp_month": 12,
        "exp_year": 2030,
        "entry_mode": "swipe",
        "checks": {"luhn": True, "expired": False, "expiry_valid": True},
    },
    "metadata": {"order": "A-100"},
}


def _from_base64(value: object) -> object:
    """JSON has no bytes; what has them is a message of gRPC."""
    if not isinstance(value, str | bytes):
        raise ValueError("must be a base64 text")
    decoded = None
    try:
        decoded = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    if not decoded:
        raise ValueError("must be base64 (RFC 4648 section 4, padded) of at least one byte")
    return decoded


def _from_hex(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) not in (16, 32) or not _is_hex(value):
        raise ValueError("must be one cipher block in hexadecimal: 16 digits for TDES, 32 for AES")
    return bytes.fromhex(value)


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


Base64 = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
        }
    ),
]
IV = Annotated[
    bytes | None,
    BeforeValidator(_from_hex),
    WithJsonSchema({"type": ["string", "null"], "pattern": "^([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})$"}),
]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class PartBody(StrictModel):
    format: Annotated[PartFormat, Strict(strict=False)]
    ciphertext: Base64


class EncryptedPayloadBody(StrictModel):
    """``iv`` is hexadecimal, one block; null or absent means the zero block.

    A DUKPT payload has a ``ksn``, one of device-aead a ``key_epoch``.
    """

    scheme: Annotated[Scheme, Strict(strict=False)] | None = None
    ksn: (
        Annotated[str, Field(max_length=64, description="Key serial number, hexadecimal.")] | None
    ) = None
    key_epoch: int | None = None
    key_variant: Annotated[KeyVariant, Strict(strict=False)] | None = None
    cipher: Annotated[Cipher, Strict(strict=False)] | None = None
    mode: Annotated[Mode, Strict(strict=False)] | None = None
    iv: IV = None
    parts: Annotated[list[PartBody], Field(min_length=1, max_length=PARTS_LIMIT)]

    def to_domain(self) -> EncryptedPayload:
        return EncryptedPayload(
            parts=tuple(EncryptedPart(part.format, part.ciphertext) for part in self.parts),
            ksn=self.ksn,
            key_epoch=self.key_epoch,
            scheme=self.scheme,
            key_variant=self.key_variant,
            cipher=self.cipher,
            mode=self.mode,
            iv=self.iv,
        )


class CreateTokenBody(StrictModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "merchant_id": "m_4711",
                    "device_id": "IDT-0042",
                    "encrypted_payload": {
                        "scheme": "dukpt-aes",
                        "ksn": EXAMPLE_KSN,
                        "parts": [{"format": "track2", "ciphertext": EXAMPLE_CIPHERTEXT}],
                    },
                    "ttl_seconds": 86400,
                    "metadata": {"order": "A-100"},
                }
            ]
        }
    )

    merchant_id: Annotated[str, Field(pattern=f"^{MERCHANT_ID.pattern}$")]
    device_id: Annotated[str, Field(pattern=rf"^{DEVICE_ID.pattern}$")]
    encrypted_payload: EncryptedPayloadBody
    ttl_seconds: int | None = None
    metadata: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=40)],
            Annotated[str, Field(max_length=500)],
        ],
        Field(max_length=20, default_factory=dict),
    ]

    def to_domain(self, idempotency_key: str, api_key_id: str) -> TokeniseRequest:
        """Raises CleartextCardDataError when a free text holds what looks like a card number, or a ciphertext is none."""
        found = self._fields_in_clear(idempotency_key)
        if found:
            merchant_id = "" if "merchant_id" in found else self.merchant_id
            device_id = "" if "device_id" in found else self.device_id
            raise CleartextCardDataError(found[0], merchant_id, device_id)
        return TokeniseRequest(
            idempotency_key=idempotency_key,
            merchant_id=MerchantId(self.merchant_id),
            device_id=DeviceId(self.device_id),
            payload=self.encrypted_payload.to_domain(),
            ttl_seconds=self.ttl_seconds,
            metadata=self.metadata,
            api_key_id=api_key_id,
        )

    def _fields_in_clear(self, idempotency_key: str) -> list[str]:
        """The fields that hold card data which anybody could read."""
        texts = {
            "Idempotency-Key": (idempotency_key,),
            "merchant_id": (self.merchant_id,),
            "device_id": (self.device_id,),
            "metadata": (*self.metadata, *self.metadata.values()),
        }
        found = [field for field, values in texts.items() if any(map(find_card_number, values))]
        found += [
            f"encrypted_payload.parts.{place}.ciphertext"
            for place, part in enumerate(self.encrypted_payload.parts)
            if is_unencrypted(part.ciphertext)
        ]
        return found


class ChecksBody(BaseModel):
    luhn: bool
    expired: bool
    expiry_valid: bool


class CardBody(BaseModel):
    brand: str
    bin: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    entry_mode: str
    checks: ChecksBody


class TokenBody(BaseModel):
    """The masked view: all that leaves the public side."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_TOKEN]})

    payment_token: str
    merchant_id: str
    status: str
    created_at: datetime
    expires_at: datetime
    card: CardBody
    metadata: dict[str, str]

    @staticmethod
    def render(token: Token) -> bytes:
        """This model of the token as JSON. To build the model only to write it down costs twice as much again."""
        return to_json(token_document(token))


def token_document(token: Token) -> dict[str, Any]:
    """The masked view as REST and gRPC give it."""
    card = token.card
    return {
        "payment_token": token.token_id.text,
        "merchant_id": token.merchant_id,
        "status": token.status.value,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "card": {
            "brand": card.brand.value,
            "bin": card.bin,
            "last4": card.last4,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "entry_mode": card.entry_mode.value,
            "checks": {
                "luhn": card.checks.luhn,
                "expired": card.checks.expired,
                "expiry_valid": card.checks.expiry_valid,
            },
        },
        "metadata": dict(token.metadata),
    }


class ProblemBody(BaseModel):
    """RFC 9457. ``code`` is stable; ``detail`` names fields and limits, never values."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    payment_token: str | None = None
    hint: str | None = None
    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})
