"""Which API keys an operator is told of, at the edges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payment_token.domain.api_key import APIKey, KeyReading
from payment_token.domain.api_key_review import (
    INACTIVE,
    SOON,
    Standing,
    advice_on,
    standing_of,
)
from payment_token.domain.identifiers import MerchantId

NOW = datetime(2026, 7, 2, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
KEY = APIKey(
    "0123456789abcdef",
    "till",
    (MerchantId("m_1"),),
    bytes(32),
    created_at=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=100),
)


def reading(**changes: Any) -> KeyReading:
    return KeyReading(replace(KEY, **changes), NOW)


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, Standing.ACTIVE),
        ({"expires_at": None}, Standing.ACTIVE),
        ({"expires_at": NOW + SOON + INSTANT}, Standing.ACTIVE),
        ({"expires_at": NOW + SOON}, Standing.EXPIRES_SOON),
        ({"expires_at": NOW + INSTANT}, Standing.EXPIRES_SOON),
        ({"expires_at": NOW}, Standing.EXPIRED),
        ({"expires_at": NOW, "revoked_at": NOW}, Standing.REVOKED),
        ({"revoked_at": NOW - INSTANT}, Standing.REVOKED),
    ],
)
def test_what_became_of_a_key(changes: dict[str, Any], standing: Standing) -> None:
    assert standing_of(reading(**changes)) is standing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"expires_at": None}, ["never expires"]),
        ({"expires_at": NOW + SOON}, ["expires at 2026-07-16 12:00Z"]),
        ({"created_at": NOW - INACTIVE}, []),
        ({"created_at": NOW - INACTIVE - INSTANT}, ["was never used for 90 days"]),
        ({"created_at": NOW - 9 * INACTIVE, "last_used_at": NOW - INACTIVE}, []),
        (
            {"created_at": NOW - 9 * INACTIVE, "last_used_at": NOW - 2 * INACTIVE},
            ["was not used for 180 days"],
        ),
        (
            {"created_at": NOW - 2 * INACTIVE, "expires_at": None},
            ["never expires", "was never used for 180 days"],
        ),
        ({"expires_at": None, "revoked_at": NOW}, []),
        ({"expires_at": NOW}, []),
        ({"expires_at": NOW + SOON, "replaced_by": "f" * 16}, []),
    ],
)
def test_what_wants_attention(changes: dict[str, Any], said: list[str]) -> None:
    found = advice_on(reading(**changes), may_live_for_ever=False)

    assert [advice[: len(text)] for advice, text in zip(found, said, strict=True)] == said
    assert all(KEY.key_id in advice for advice in found)


def test_where_keys_may_live_for_ever_nobody_is_told() -> None:
    assert advice_on(reading(expires_at=None), may_live_for_ever=True) == []
