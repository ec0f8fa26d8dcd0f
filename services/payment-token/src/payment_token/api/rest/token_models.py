"""Bodies of the public API, as they stand in JSON and in OpenAPI."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import to_json

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import (
    Cipher,
    Container,
    EncryptedPart,
    EncryptedPayload,
    KeyVariant,
    Mode,
    PartFormat,
    ReaderFrame,
    Scheme,
)
from payment_token.domain.errors import CleartextCardDataError
from payment_token.domain.identifiers import DEVICE_ID, MERCHANT_ID, DeviceId, MerchantId
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.token import Token
from payment_token.domain.tokenise_request import TokeniseRequest
from payment_token.domain.unencrypted import is_unencrypted

PARTS_LIMIT = 8
FRAME_LIMIT_BYTES = 16 * 1024

# How a part is taken. No field has such a name.
CIPHERTEXT_TAG, FRAME_TAG = "<ciphertext>", "<frame>"
_CONTAINERS = frozenset(container.value for container in Container)

# ";4111111111111111=30122010000012345678?", padded with zeros, under the BDK that ANSI X9.24-3 publishes for testing
# (FEDCBA9876543210F1F1F1F1F1F1F1F1) and the KSN below. A test decrypts it.
EXAMPLE_KSN = "123456789012345600000001"
EXAMPLE_CIPHERTEXT = "INTzKI5wW4U43LVx9m5DViSUffdJYGl1YnzGNkcLWRDW8B3IZyQxgHpac1oyrpfn"
# A swipe that an ID TECH manual (80096504-001, 10.7.1) has as its example, under a BDK for testing as well.
EXAMPLE_FRAME = (
    "An0BAD9II2slKjQyNjYqKioqKioqKjk5OTleQlVTSCBKUi9HRU9SR0UgVy5NUl4qKioqKioqKioqKioqKioqKioqKioqKioqKioqKioqPyo7NDI2Nioq"
    "KioqKioqOTk5OT0qKioqKioqKioqKioqKio/KjszMzMzMzMzMzMzNzY3Njc2MDcwNzA3NzY3Njc2MzMzMzMzMzMzMzc2NzY3NjA3MDcwNzc2NzY3NjMz"
    "MzMzMzMzMzM3Njc2NzYwNzA3MDc3Njc2NzYzMzMzMzMzMzMzNzY3Njc2MDcwNz8yhj6ePaKORVso93Nrd+R6ZO3aO/A6BuRPMdGBjAvNejU/sa1w79MP"
    "/D2gik+8k3LlfotAhIuuqj/nJLNVDi9LIj5r8mS+rp45FCtkjNtR+42vjqW2ORPSlBm2dYL8zOmzcmYPA2aMxFMhbZRJxrZ+8zQYrIj2Xh237U0Qlz+Z"
    "38hGP/bfETtiJsSJip01UFfsrxGlWY8CyjFimUkBGQAAAAABOZ8D"
)

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


def _frame(value: object) -> object:
    frame = _from_base64(value)
    if not isinstance(frame, bytes) or len(frame) > FRAME_LIMIT_BYTES:
        raise ValueError(f"must be at most {FRAME_LIMIT_BYTES} bytes")
    return SensitiveBytes(frame)


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


_BASE64_SCHEMA: JsonDict = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
}
Base64 = Annotated[bytes, BeforeValidator(_from_base64), WithJsonSchema(_BASE64_SCHEMA)]
# A reader's message is cardholder data, although its tracks are encrypted.
Frame = Annotated[
    SensitiveBytes,
    BeforeValidator(_frame),
    WithJsonSchema({**_BASE64_SCHEMA, "maxLength": (FRAME_LIMIT_BYTES + 2) // 3 * 4}),
]
IV = Annotated[
    bytes | None,
    BeforeValidator(_from_hex),
    WithJsonSchema({"type": ["string", "null"], "pattern": "^([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})$"}),
]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class PartBody(StrictModel):
    """What a terminal encrypted by itself."""

    format: Annotated[PartFormat, Strict(strict=False)]
    ciphertext: Base64


class FramePartBody(StrictModel):
    """A whole message of a card reader, as it came from the reader: ``format`` says of which family."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: Annotated[Container, Strict(strict=False)]
    frame: Frame

    @model_validator(mode="before")
    @classmethod
    def _only_a_frame(cls, part: object) -> object:
        if isinstance(part, dict) and "ciphertext" in part:
            raise ValueError("must have a frame in this format, and no ciphertext beside a frame")
        return part


def _tag(part: object) -> str:
    """By what the part says, so that its errors speak of what its sender meant."""
    if not isinstance(part, dict):
        return CIPHERTEXT_TAG
    part_format = part.get("format")
    in_container = isinstance(part_format, str) and part_format in _CONTAINERS
    return FRAME_TAG if "frame" in part or in_container else CIPHERTEXT_TAG


def _frame_alone(parts: list[PartBody | FramePartBody]) -> list[PartBody | FramePartBody]:
    if len(parts) > 1 and any(isinstance(part, FramePartBody) for part in parts):
        raise ValueError("a frame must be the only part")
    return parts


def _describe_parts(schema: JsonDict) -> None:
    """OpenAPI has no word for "alone" but that of a list of one."""
    items = schema.pop("items")
    if not isinstance(items, dict) or not isinstance(items["oneOf"], list):
        raise TypeError("the parts of a payload are of two kinds")
    ciphertexts, frame = items["oneOf"]
    lists = ((ciphertexts, PARTS_LIMIT), (frame, 1))
    for bound in ("type", "minItems", "maxItems"):
        schema.pop(bound)
    schema["oneOf"] = [
        {"type": "array", "items": items, "minItems": 1, "maxItems": limit}
        for items, limit in lists
    ]


class EncryptedPayloadBody(StrictModel):
    """``iv`` is hexadecimal, one block; null or absent means the zero block.

    A DUKPT payload has a ``ksn``, one of device-aead a ``key_epoch``. ``parts`` are ciphertexts, or one frame, which states
    the KSN itself.
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
    parts: Annotated[
        list[
            Annotated[
                Annotated[PartBody, Tag(CIPHERTEXT_TAG)] | Annotated[FramePartBody, Tag(FRAME_TAG)],
                Discriminator(_tag),
            ]
        ],
        Field(min_length=1, max_length=PARTS_LIMIT, json_schema_extra=_describe_parts),
        AfterValidator(_frame_alone),
    ]

    def to_domain(self) -> EncryptedPayload:
        first = self.parts[0]
        frame = None
        if isinstance(first, FramePartBody):
            frame = ReaderFrame(first.format, first.frame)
        return EncryptedPayload(
            parts=tuple(
                EncryptedPart(part.format, part.ciphertext)
                for part in self.parts
                if isinstance(part, PartBody)
            ),
            frame=frame,
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
                },
                {
                    "merchant_id": "m_4711",
                    "device_id": "IDT-0043",
                    "encrypted_payload": {
                        "parts": [{"format": "idtech-msr", "frame": EXAMPLE_FRAME}],
                    },
                },
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
            if isinstance(part, PartBody) and is_unencrypted(part.ciphertext)
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
