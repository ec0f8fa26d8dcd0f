"""Writes ``device-aead.json`` beside this file, with the service's own code and fixed keys and counters.

.venv/bin/python -m tests.vectors.make_device_aead_vector
"""

import json
from pathlib import Path
from typing import Any

from payment_token.domain.device_aead import AEADKeyName, device_key, seal_part
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

FILE = Path(__file__).with_name("device-aead.json")

TRACK2 = b";4111111111111111=30122010000012345678?"

INPUTS = (
    {
        "id": "track 2, first read",
        "bdk": bytes(range(32)).hex(),
        "merchant_id": "m_4711",
        "device_id": "IDT-0042",
        "key_epoch": 1,
        "format": "track2",
        "counter": 1,
        "plaintext": TRACK2.hex(),
    },
    {
        "id": "the same read under the next epoch",
        "bdk": bytes(range(32)).hex(),
        "merchant_id": "m_4711",
        "device_id": "IDT-0042",
        "key_epoch": 2,
        "format": "track2",
        "counter": 1,
        "plaintext": TRACK2.hex(),
    },
    {
        "id": "a merchant and a device that join to the same text",
        "bdk": bytes(range(32)).hex(),
        "merchant_id": "m_4711I",
        "device_id": "DT-0042",
        "key_epoch": 1,
        "format": "track2",
        "counter": 1,
        "plaintext": TRACK2.hex(),
    },
    {
        "id": "an EMV block, a counter of more than 64 bits",
        "bdk": bytes(range(0x80, 0xA0)).hex(),
        "merchant_id": "m_4711",
        "device_id": "IDT-0042",
        "key_epoch": 258,
        "format": "emv-tlv",
        "counter": 2**64 + 1,
        "plaintext": bytes.fromhex("57114761739001010010D15122010123456789").hex(),
    },
    {
        "id": "longest names, last epoch, last counter, one byte, card-json",
        "bdk": (b"\xff" * 32).hex(),
        "merchant_id": "m" * 64,
        "device_id": "~" * 64,
        "key_epoch": 2**32 - 1,
        "format": "card-json",
        "counter": 2**96 - 1,
        "plaintext": b"{".hex(),
    },
    {
        "id": "shortest names, epoch 0, counter 0",
        "bdk": bytes(32).hex(),
        "merchant_id": "m",
        "device_id": "d",
        "key_epoch": 0,
        "format": "track1",
        "counter": 0,
        "plaintext": b"%B4111111111111111^CARDHOLDER/A^3012201?".hex(),
    },
)


def name_of(entry: dict[str, Any]) -> AEADKeyName:
    return AEADKeyName.checked(
        MerchantId(entry["merchant_id"]), DeviceId(entry["device_id"]), entry["key_epoch"]
    )


def _with_results(entry: dict[str, Any]) -> dict[str, Any]:
    bdk, name, part = (
        SecretKey(bytes.fromhex(entry["bdk"])),
        name_of(entry),
        PartFormat(entry["format"]),
    )
    key = device_key(bdk, name)
    plaintext = SensitiveBytes(bytes.fromhex(entry["plaintext"]))
    return {
        **entry,
        "key_check_value": key_check_value(bdk, BDKAlgorithm.DEVICE_AEAD),
        "derivation_message": name.derivation_message.hex(),
        "device_key": key.reveal().hex(),
        "associated_data": name.associated_data(part).hex(),
        "ciphertext": seal_part(key, name, part, entry["counter"], plaintext).hex(),
    }


def document() -> dict[str, Any]:
    return {
        "description": (
            "device-aead payloads. Byte strings are hexadecimal; the ciphertext is"
            " nonce (12 bytes) || AES-256-GCM ciphertext || tag (16 bytes)."
        ),
        "payloads": [_with_results(entry) for entry in INPUTS],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=2) + "\n", encoding="ascii")
