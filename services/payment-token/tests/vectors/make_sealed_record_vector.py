"""Writes ``sealed-record-v1.json`` beside this file, with the service's own code and fixed randomness.

.venv/bin/python -m tests.vectors.make_sealed_record_vector
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from payment_token.domain.identifiers import MerchantId
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing import Binding, Purpose, seal
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.token_id import TokenId

FILE = Path(__file__).with_name("sealed-record-v1.json")

# In the order in which sealing asks for them.
RANDOM_FIELDS = ("dek", "salt", "wrap_nonce", "payload_nonce")

INPUTS = (
    {
        "id": "pan",
        "purpose": "pan",
        "merchant_id": "m_4711",
        "token_id": "pt_bcdfghjkmnpqrstvbcdfghjkmnpqrstvgbqd",
        "environment": "production",
        "ends_at": "2026-07-02T12:00:00.123456+00:00",
        "key_name": "v1",
        "key": bytes(range(32)).hex(),
        "dek": bytes(range(0x20, 0x40)).hex(),
        "salt": bytes(range(0x40, 0x50)).hex(),
        "wrap_nonce": bytes(range(0x50, 0x5C)).hex(),
        "payload_nonce": bytes(range(0x60, 0x6C)).hex(),
        "plaintext": b'{"pan":"4111111111111111"}'.hex(),
    },
    {
        "id": "sad",
        "purpose": "sad",
        "merchant_id": "m_4711",
        "token_id": "pt_bcdfghjkmnpqrstvbcdfghjkmnpqrstvgbqd",
        "environment": "production",
        "ends_at": "2026-07-01T13:00:00+00:00",
        "key_name": "sad-2026-07-01T12",
        "key": bytes(range(0x80, 0xA0)).hex(),
        "dek": bytes(range(0xA0, 0xC0)).hex(),
        "salt": bytes(range(0xC0, 0xD0)).hex(),
        "wrap_nonce": bytes(range(0xD0, 0xDC)).hex(),
        "payload_nonce": bytes(range(0xE0, 0xEC)).hex(),
        "plaintext": b'{"cvv":"123"}'.hex(),
    },
    {
        "id": "empty plaintext, longest key name",
        "purpose": "pan",
        "merchant_id": "m",
        "token_id": "pt_" + "b" * 36,
        "environment": "development",
        "ends_at": "1970-01-01T00:00:00+00:00",
        "key_name": "k" * 64,
        "key": bytes(32).hex(),
        "dek": bytes(32).hex(),
        "salt": bytes(16).hex(),
        "wrap_nonce": bytes(12).hex(),
        "payload_nonce": bytes(12).hex(),
        "plaintext": "",
    },
)


def key_of(record: dict[str, str]) -> NamedKey:
    return NamedKey(record["key_name"], SecretKey(bytes.fromhex(record["key"])))


def binding_of(record: dict[str, str]) -> Binding:
    return Binding(
        Purpose(record["purpose"]),
        MerchantId(record["merchant_id"]),
        TokenId.parse(record["token_id"]),
        record["environment"],
        datetime.fromisoformat(record["ends_at"]),
    )


def sealed(record: dict[str, str]) -> bytes:
    values = bytes.fromhex("".join(record[name] for name in RANDOM_FIELDS))

    def fixed(size: int) -> bytes:
        if len(values) != size:
            raise AssertionError("sealing asked for its randomness in another way")
        return values

    plaintext = SensitiveBytes(bytes.fromhex(record["plaintext"]))
    return seal(plaintext, key_of(record), binding_of(record), fixed)


def document() -> dict[str, Any]:
    return {
        "description": "Sealed records of format version 1. Byte strings are hexadecimal.",
        "records": [{**record, "sealed": sealed(record).hex()} for record in INPUTS],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=2) + "\n", encoding="ascii")
