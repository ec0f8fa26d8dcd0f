"""ANSI X9.24-3:2017: keys, and what they make of PIN, MAC and data."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, initial_key
from tests.unit.dukpt.dukpt_vectors import (
    DOCUMENT,
    KEY_TYPES,
    USAGES,
    aes_transaction_key,
    aes_working_key,
    base_derivation_key,
    name_of,
    shown,
    zero_padded,
)

KEYS = DOCUMENT["aes_keys"]
OPERATIONS = DOCUMENT["aes_crypto"]
BDK_BYTES = {"AES128": 16, "AES192": 24, "AES256": 32}


def encrypt(key: bytes, data: bytes) -> bytes:
    """CBC from the zero block. Of one block it is ECB."""
    return Cipher(AES(key), CBC(bytes(16))).encryptor().update(data)


def cbc(vector, usage: str, key_type: str) -> str:
    key = aes_working_key(vector, usage, key_type).reveal()
    return encrypt(key, zero_padded(vector["data_ascii"].encode(), 16)).hex().upper()


def cmac(vector, usage: str, key_type: str) -> str:
    mac = CMAC(AES(aes_working_key(vector, usage, key_type).reveal()))
    mac.update(vector["data_ascii"].encode())
    return mac.finalize().hex().upper()


def hmac_sha256(vector, usage: str, key_type: str) -> str:
    key = aes_working_key(vector, usage, key_type).reveal()
    return hmac.digest(key, vector["data_ascii"].encode(), "sha256").hex().upper()


def pin_block(vector) -> str:
    """ISO 9564 format 4: the PIN field encrypted, the PAN field over it, encrypted again."""
    key = aes_working_key(vector, "pin", "AES128").reveal()
    pan_field = bytes.fromhex(f"{len(vector['pan']) - 12}{vector['pan']}".ljust(32, "0"))
    first = encrypt(key, bytes.fromhex(vector["clear_pin_field"]))
    return encrypt(key, bytes(a ^ b for a, b in zip(first, pan_field, strict=True))).hex().upper()


RESULTS = {
    "pinblock4_enc": pin_block,
    "cmac_req/AES128": lambda vector: cmac(vector, "mac_gen", "AES128"),
    "cmac_resp/AES128": lambda vector: cmac(vector, "mac_ver", "AES128"),
    "hmac_sha256_req/HMAC128": lambda vector: hmac_sha256(vector, "mac_gen", "HMAC128"),
    "hmac_sha256_resp/HMAC128": lambda vector: hmac_sha256(vector, "mac_ver", "HMAC128"),
    "data_req_cbc_iv0_zeropad/AES128": lambda vector: cbc(vector, "data_enc", "AES128"),
    "data_resp_cbc_iv0_zeropad/AES128": lambda vector: cbc(vector, "data_dec", "AES128"),
}


@pytest.mark.parametrize("vector", KEYS, ids=name_of)
def test_derives_the_keys(vector):
    bdk = base_derivation_key(vector)
    ksn = KSN.of_any_counter(vector["ksn"], Scheme.DUKPT_AES)
    expected = vector["expect"]

    derived = {"ik": shown(initial_key(bdk, ksn)), "txn_key": shown(aes_transaction_key(vector)[0])}
    working = {
        name: shown(aes_working_key(vector, *name.split("/")))
        for name in expected.get("working", {})
    }

    assert {name: key for name, key in derived.items() if name in expected} | (
        {"working": working} if working else {}
    ) == expected
    assert len(bdk.reveal()) == BDK_BYTES[vector["bdk_type"]]


@pytest.mark.parametrize("vector", OPERATIONS, ids=name_of)
def test_the_keys_do_what_the_standard_shows(vector):
    results = {name: RESULTS[name](vector) for name in vector["expect"]}
    assert results == vector["expect"]


def test_the_usage_codes_are_those_of_the_file():
    assert DOCUMENT["key_usage_codes"] == {
        name: f"{usage.value:04X}" for name, usage in USAGES.items()
    }


def test_every_kind_of_key_and_result_occurs():
    names = {name for vector in KEYS for name in vector["expect"].get("working", {})}
    assert {name.split("/")[0] for name in names} == set(USAGES) - {"derivation", "initial"}
    assert {name.split("/")[1] for name in names} == set(KEY_TYPES)
    assert {name for vector in OPERATIONS for name in vector["expect"]} == set(RESULTS)
