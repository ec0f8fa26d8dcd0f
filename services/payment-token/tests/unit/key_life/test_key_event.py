"""Signed statements: canonical, and of no other key, text or time than the one that was signed."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.key_life.key_event import (
    KeyEvent,
    KeyEventKind,
    public_key_of,
    sign,
    verifies,
)
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.keys import NamedKey
from payment_token.domain.sensitive import SecretKey

KEY = NamedKey("v1", SecretKey(bytes(range(32))))
OTHER = NamedKey("v1", SecretKey(bytes(range(1, 33))))
EVENT = KeyEvent(
    KeyEventKind.DESTROYED,
    KeyPurpose.SERVICE,
    "v1",
    datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "production",
    {"rows": 0, "kek": "arn:aws:kms:eu-central-1:111122223333:key/k"},
)


def test_a_statement_is_canonical():
    assert EVENT.statement == (
        '{"details":{"kek":"arn:aws:kms:eu-central-1:111122223333:key/k","rows":0},'
        '"environment":"production","event":"destroyed","purpose":"service",'
        '"time":"2026-01-02T03:04:05.678901+00:00","version":"v1"}'
    )
    turned = replace(EVENT, details=dict(reversed(EVENT.details.items())))
    assert turned.statement == EVENT.statement


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=20) | st.integers(), max_size=5))
def test_any_details_are_one_line_of_ascii_that_reads_back(details):
    statement = replace(EVENT, details=details).statement
    assert statement.isascii()
    assert "\n" not in statement
    assert json.loads(statement)["details"] == details
    again = json.dumps(json.loads(statement), sort_keys=True, separators=(",", ":"))
    assert again == statement


def test_a_signed_statement_verifies_with_the_public_key_alone():
    signed = sign(EVENT, KEY)
    assert signed.statement == EVENT.statement
    assert signed.signing_key == "v1"
    assert len(signed.signature) == 64
    assert len(public_key_of(KEY)) == 32
    assert verifies(signed, public_key_of(KEY))


def test_the_signature_is_ed25519_over_a_label_and_the_statement():
    """So that an auditor can check with any tool, and no signature of another kind of record passes for one."""
    signed = sign(EVENT, KEY)
    message = b"payment-token/key-event/v1\0" + EVENT.statement.encode()
    Ed25519PublicKey.from_public_bytes(public_key_of(KEY)).verify(signed.signature, message)
    unlabelled = Ed25519PrivateKey.from_private_bytes(KEY.key.reveal()).sign(
        EVENT.statement.encode()
    )
    assert not verifies(replace(signed, signature=unlabelled), public_key_of(KEY))


def test_another_key_does_not_verify():
    assert not verifies(sign(EVENT, KEY), public_key_of(OTHER))
    assert not verifies(sign(EVENT, OTHER), public_key_of(KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": KeyEventKind.RETIRED},
        {"purpose": KeyPurpose.INDEX},
        {"version": "v2"},
        {"environment": "test"},
        {"time": EVENT.time.replace(microsecond=678902)},
        {"details": {**EVENT.details, "rows": 1}},
        {"details": {"rows": 0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_statement_does_not_verify(change):
    signed = sign(EVENT, KEY)
    changed = replace(signed, statement=replace(EVENT, **change).statement)
    assert changed.statement != signed.statement
    assert not verifies(changed, public_key_of(KEY))


def test_any_flipped_bit_of_the_signature():
    signed = sign(EVENT, KEY)
    for place in range(512):
        changed = bytearray(signed.signature)
        changed[place // 8] ^= 1 << place % 8
        assert not verifies(replace(signed, signature=bytes(changed)), public_key_of(KEY))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_does_not_verify(signature):
    assert not verifies(replace(sign(EVENT, KEY), signature=signature), public_key_of(KEY))


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_what_is_no_public_key_verifies_nothing(public_key):
    """It stands in the database, where somebody may have changed it."""
    assert not verifies(sign(EVENT, KEY), public_key)
