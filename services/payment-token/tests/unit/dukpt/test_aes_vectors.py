"""AES DUKPT against published vectors: keys of every usage and type, and what terminals do with them."""

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, aes
from payment_token.domain.dukpt.aes import KeyType, KeyUsage
from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import dukpt_vectors, entries

USAGES = {
    "pin": KeyUsage.PIN_ENCRYPTION,
    "mac_gen": KeyUsage.MAC_GENERATION,
    "mac_ver": KeyUsage.MAC_VERIFICATION,
    "mac_both": KeyUsage.MAC_BOTH,
    "data_enc": KeyUsage.DATA_ENCRYPTION,
    "data_dec": KeyUsage.DATA_DECRYPTION,
    "data_both": KeyUsage.DATA_BOTH,
    "kek": KeyUsage.KEY_ENCRYPTION,
    "derivation": KeyUsage.KEY_DERIVATION,
    "initial": KeyUsage.INITIAL_KEY,
}
TYPES = {
    "2TDEA": KeyType.TDEA_2KEY,
    "3TDEA": KeyType.TDEA_3KEY,
    "AES128": KeyType.AES_128,
    "AES192": KeyType.AES_192,
    "AES256": KeyType.AES_256,
    "HMAC128": KeyType.HMAC_128,
    "HMAC192": KeyType.HMAC_192,
    "HMAC256": KeyType.HMAC_256,
}


def ksn_of(entry: dict[str, Any]) -> KSN:
    # The key-update vector carries a counter that no transaction uses.
    return KSN.of_any_counter(entry["ksn"], Scheme.DUKPT_AES)


def transaction_key_of(entry: dict[str, Any]) -> SecretKey:
    ksn = ksn_of(entry)
    initial = aes.initial_key(SecretKey(bytes.fromhex(entry["bdk"])), ksn)
    transaction = aes.transaction_key(initial, ksn)
    assert DerivationPath(ksn.scheme, initial).transaction_key(ksn) == transaction
    return transaction


def test_usage_codes_are_the_published_ones() -> None:
    assert {name: f"{usage:04X}" for name, usage in USAGES.items()} == dukpt_vectors()[
        "key_usage_codes"
    ]


@pytest.mark.parametrize("entry", entries("aes_keys"))
def test_keys(entry: dict[str, Any]) -> None:
    expect = dict(entry["expect"])
    working = expect.pop("working", {})
    transaction = transaction_key_of(entry)
    derived = {
        "ik": aes.initial_key(SecretKey(bytes.fromhex(entry["bdk"])), ksn_of(entry)),
        "txn_key": transaction,
    }

    assert expect == {name: derived[name].reveal().hex().upper() for name in expect}
    for name, value in working.items():
        usage, _, key_type = name.partition("/")
        key = aes.working_key(transaction, ksn_of(entry), USAGES[usage], TYPES[key_type])
        assert key.reveal().hex().upper() == value, name


@pytest.mark.parametrize("entry", entries("aes_crypto"))
def test_what_terminals_compute_with_them(entry: dict[str, Any]) -> None:
    transaction = transaction_key_of(entry)

    def key(usage: KeyUsage, key_type: KeyType = KeyType.AES_128) -> bytes:
        return aes.working_key(transaction, ksn_of(entry), usage, key_type).reveal()

    data = entry.get("data_ascii", "").encode()
    padded = data + bytes(-len(data) % 16)
    computed = {
        "cmac_req/AES128": lambda: cmac(key(KeyUsage.MAC_GENERATION), data),
        "cmac_resp/AES128": lambda: cmac(key(KeyUsage.MAC_VERIFICATION), data),
        "hmac_sha256_req/HMAC128": lambda: mac(
            key(KeyUsage.MAC_GENERATION, KeyType.HMAC_128), data
        ),
        "hmac_sha256_resp/HMAC128": lambda: mac(
            key(KeyUsage.MAC_VERIFICATION, KeyType.HMAC_128), data
        ),
        "data_req_cbc_iv0_zeropad/AES128": lambda: cbc(key(KeyUsage.DATA_ENCRYPTION), padded),
        "data_resp_cbc_iv0_zeropad/AES128": lambda: cbc(key(KeyUsage.DATA_DECRYPTION), padded),
        "pinblock4_enc": lambda: pin_block_iso4(
            key(KeyUsage.PIN_ENCRYPTION), bytes.fromhex(entry["clear_pin_field"]), entry["pan"]
        ),
    }

    assert entry["expect"] == {name: computed[name]().hex().upper() for name in entry["expect"]}


def ecb(key: bytes, block: bytes) -> bytes:
    return Cipher(AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 - one block


def cbc(key: bytes, data: bytes) -> bytes:
    return Cipher(AES(key), modes.CBC(bytes(16))).encryptor().update(data)


def cmac(key: bytes, data: bytes) -> bytes:
    code = CMAC(AES(key))
    code.update(data)
    return code.finalize()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def pin_block_iso4(key: bytes, pin_field: bytes, pan: str) -> bytes:
    account = bytes.fromhex(f"{max(len(pan) - 12, 0)}{pan.rjust(12, '0')}".ljust(32, "0"))
    inner = ecb(key, pin_field)
    return ecb(key, bytes(left ^ right for left, right in zip(inner, account, strict=True)))


def test_a_working_key_is_never_stronger_than_its_base() -> None:
    transaction = SecretKey(bytes(16))
    ksn = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)

    for key_type in (KeyType.AES_192, KeyType.AES_256, KeyType.HMAC_256):
        with pytest.raises(ValueError, match="stronger"):
            aes.working_key(transaction, ksn, KeyUsage.DATA_ENCRYPTION, key_type)


@pytest.mark.parametrize("length", [0, 8, 15, 17, 33])
def test_a_base_key_of_another_size_is_refused(length: int) -> None:
    ksn = KSN.from_hex("123456789012345600000001", Scheme.DUKPT_AES)
    with pytest.raises(ValueError, match="16, 24 or 32"):
        aes.initial_key(SecretKey(bytes(length)), ksn)
