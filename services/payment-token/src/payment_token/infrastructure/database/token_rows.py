"""A token as the values of its row, and back."""

import json
from collections.abc import Sequence
from typing import Any

from payment_token.domain.card_data import Brand, CardChecks, EntryMode, MaskedCard
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.token import NewToken, StoredToken, Token, TokenStatus
from payment_token.domain.token_id import TokenId

STORED = (
    "merchant_id, purge_day, token_id, status, created_at, expires_at, card_brand, card_bin, card_last4,"
    " card_exp_month, card_exp_year, card_entry_mode, card_luhn, card_expired, card_expiry_valid, metadata,"
    " sealed_pan, sealed_sad, sad_deadline, sad_destroyed_at"
)
"""The columns that :func:`stored_token` reads, in its order."""

# What a create writes, and the types of the arrays that a batch of creates comes in.
NEW: dict[str, str] = {
    "merchant_id": "text",
    "purge_day": "date",
    "token_id": "text",
    "created_at": "timestamptz",
    "expires_at": "timestamptz",
    "card_brand": "text",
    "card_bin": "text",
    "card_last4": "text",
    "card_exp_month": "smallint",
    "card_exp_year": "smallint",
    "card_entry_mode": "text",
    "card_luhn": "boolean",
    "card_expired": "boolean",
    "card_expiry_valid": "boolean",
    "metadata": "jsonb",
    "device_id": "text",
    "bdk_id": "text",
    "service_key": "text",
    "sealed_pan": "bytea",
    "sealed_sad": "bytea",
    "sad_deadline": "timestamptz",
}


def new_row(new: NewToken) -> tuple[object, ...]:
    """The values of ``NEW``; the metadata as JSON text."""
    stored, token, card = new.stored, new.stored.token, new.stored.token.card
    return (
        token.merchant_id,
        token.token_id.purge_day,
        token.token_id.text,
        token.created_at,
        token.expires_at,
        card.brand.value,
        card.bin,
        card.last4,
        card.exp_month,
        card.exp_year,
        card.entry_mode.value,
        card.checks.luhn,
        card.checks.expired,
        card.checks.expiry_valid,
        json.dumps(dict(token.metadata)) if token.metadata else "{}",
        new.binding.device_id,
        new.binding.bdk_id,
        new.service_key,
        stored.sealed_pan,
        stored.sealed_sad,
        stored.sad_deadline,
    )


def stored_token(row: Sequence[Any]) -> StoredToken:
    """The token of a row of ``STORED``."""
    card = MaskedCard(
        brand=Brand(row[6]),
        bin=row[7],
        last4=row[8],
        exp_month=row[9],
        exp_year=row[10],
        entry_mode=EntryMode(row[11]),
        checks=CardChecks(luhn=row[12], expired=row[13], expiry_valid=row[14]),
    )
    token = Token(
        token_id=TokenId(row[2], row[1]),
        merchant_id=MerchantId(row[0]),
        status=TokenStatus(row[3]),
        created_at=row[4],
        expires_at=row[5],
        card=card,
        metadata=row[15],
    )
    return StoredToken(token, row[16], row[17], row[18], row[19])
