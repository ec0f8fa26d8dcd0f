"""Messages of ``TokenService``, to and from what REST has in JSON: the rules of its fields stand there."""

from typing import Any

from payment_token.api.rest.request_body import validated
from payment_token.api.rest.token_models import PARTS_LIMIT, CreateTokenBody, token_document
from payment_token.api.rpc.generated import token_service_pb2 as pb
from payment_token.api.rpc.names import Names
from payment_token.api.strict_json import check_texts
from payment_token.domain.card_data import Brand, EntryMode
from payment_token.domain.device_payload import (
    Cipher,
    Container,
    KeyVariant,
    Mode,
    PartFormat,
    Scheme,
)
from payment_token.domain.token import Token, TokenStatus

SCHEMES = Names(Scheme, pb.Scheme)
KEY_VARIANTS = Names(KeyVariant, pb.KeyVariant)
CIPHERS = Names(Cipher, pb.Cipher)
MODES = Names(Mode, pb.Mode)
PART_FORMATS: Names[PartFormat | Container] = Names((*PartFormat, *Container), pb.PartFormat)
STATUSES = Names(TokenStatus, pb.TokenStatus)
BRANDS = Names(Brand, pb.CardBrand)
ENTRY_MODES = Names(EntryMode, pb.EntryMode)


def create_body(message: pb.CreateTokenRequest | pb.CreateTokenItem) -> CreateTokenBody:
    """Raises MalformedRequestError, InvalidFieldError."""
    document = _given(
        merchant_id=message.merchant_id,
        device_id=message.device_id,
        encrypted_payload=(
            _payload(message.encrypted_payload) if message.HasField("encrypted_payload") else None
        ),
        ttl_seconds=message.ttl_seconds if message.HasField("ttl_seconds") else None,
    )
    document["metadata"] = dict(message.metadata)
    check_texts(document)
    return validated(CreateTokenBody, document)


def token_message(token: Token) -> pb.Token:
    document = token_document(token)
    document["status"] = STATUSES.number(token.status)
    document["card"]["brand"] = BRANDS.number(token.card.brand)
    document["card"]["entry_mode"] = ENTRY_MODES.number(token.card.entry_mode)
    return pb.Token(**document)


def _payload(message: pb.EncryptedPayload) -> dict[str, Any]:
    # Of parts that take two bytes each there may be thousands: one too many is enough to refuse them.
    return _given(
        scheme=SCHEMES.given(message.scheme),
        ksn=message.ksn,
        key_epoch=message.key_epoch if message.HasField("key_epoch") else None,
        key_variant=KEY_VARIANTS.given(message.key_variant),
        cipher=CIPHERS.given(message.cipher),
        mode=MODES.given(message.mode),
        iv=message.iv,
    ) | {"parts": [_part(part) for part in message.parts[: PARTS_LIMIT + 1]]}


def _part(message: pb.EncryptedPart) -> dict[str, Any]:
    part = _given(format=PART_FORMATS.given(message.format))
    if message.frame:
        part["frame"] = message.frame
    if message.ciphertext or not message.frame:
        part["ciphertext"] = message.ciphertext
    return part


def _given(**fields: Any) -> dict[str, Any]:
    """Proto3 does not tell an empty text from one that was left out."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}
