"""Builders of reads, and the one way in which these tests look at a refusal."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from payment_token.domain.card_data import CardChecksPolicy, PaymentData, read_card
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import Sensitive, SensitiveBytes

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "dukpt.json").read_text("utf-8"))

PAN = "4111111111111111"
OTHER_PAN = "5555555555554444"
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)

TRACK1 = f"%B{PAN}^DOE/JANE^30122010000012300?"
TRACK2 = f";{PAN}=30122010000012345678?"
TRACK3 = ";333333333376767607?"
TRACK2_PACKED = f"{PAN}D30122010000012345678"
EMV = f"57 13 {PAN}D30122010000012345678F 5F24 03 301231 5F20 08 444F452F4A414E45 9F39 01 05"
CARD_JSON = {
    "pan": PAN,
    "exp_month": 12,
    "exp_year": 2030,
    "cardholder_name": "Jane Doe",
    "cvv": "123",
}


def tlv(text: str) -> bytes:
    return bytes.fromhex(text)


def typed(**changes: object) -> bytes:
    return json.dumps({**CARD_JSON, **changes}).encode()


def read(
    *parts: tuple[str, bytes | str],
    policy: CardChecksPolicy = CardChecksPolicy.STRICT,
    now: datetime = NOW,
) -> PaymentData:
    return read_card(
        [(PartFormat(name), SensitiveBytes(_as_bytes(data))) for name, data in parts], policy, now
    )


def refusal(act: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """The stage, after a look at everything else that the error could carry out."""
    with pytest.raises(DecryptionFailedError) as caught:
        act(*arguments, **options)
    error = caught.value
    assert error.args == (DecryptionFailedError.default_detail,)
    assert error.__context__ is None
    assert error.__cause__ is None
    assert vars(error) == {"stage": error.stage}
    assert not any(character.isdigit() for character in error.stage.replace("track", "")[1:])
    return error.stage


def shown(value: Sensitive[str] | None) -> str | None:
    return None if value is None else value.reveal()


def _as_bytes(data: bytes | str) -> bytes:
    return data.encode("latin-1") if isinstance(data, str) else data
