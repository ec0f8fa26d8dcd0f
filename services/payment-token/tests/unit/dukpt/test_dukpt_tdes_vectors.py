"""ANSI X9.24-1:2009: keys, and what they make of PIN, MAC and data."""

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, initial_key, tdes
from payment_token.domain.dukpt.retail_mac import retail_mac
from payment_token.domain.sensitive import SensitiveBytes
from tests.unit.dukpt.dukpt_vectors import (
    DOCUMENT,
    base_derivation_key,
    name_of,
    shown,
    tdes_transaction_key,
    zero_padded,
)

KEYS = DOCUMENT["tdes_keys"]
OPERATIONS = DOCUMENT["tdes_crypto"]

DERIVED = {
    "ipek": lambda vector: initial_key(
        base_derivation_key(vector), KSN.of_any_counter(vector["ksn"], Scheme.DUKPT_TDES)
    ),
    "txn_key": tdes_transaction_key,
    "pin_key": lambda vector: tdes.variant_key(tdes_transaction_key(vector), tdes.PIN_MASK),
    "mac_req_key": lambda vector: tdes.variant_key(
        tdes_transaction_key(vector), tdes.MAC_REQUEST_MASK
    ),
    "mac_resp_key": lambda vector: tdes.variant_key(
        tdes_transaction_key(vector), tdes.MAC_RESPONSE_MASK
    ),
    "data_req_key": lambda vector: tdes.data_key(
        tdes_transaction_key(vector), tdes.DATA_REQUEST_MASK
    ),
    "data_resp_key": lambda vector: tdes.data_key(
        tdes_transaction_key(vector), tdes.DATA_RESPONSE_MASK
    ),
}


def cbc(key: bytes, data: bytes) -> bytes:
    """From the zero block. Of one block it is ECB."""
    return Cipher(TripleDES(key), CBC(bytes(8))).encryptor().update(data)


def tdes_cbc(vector, derived: str, data: bytes) -> str:
    key = DERIVED[derived](vector).reveal()
    return cbc(key + key[:8], zero_padded(data, 8)).hex().upper()


def cmac(vector, derived: str) -> str:
    key = DERIVED[derived](vector).reveal()
    mac = CMAC(TripleDES(key + key[:8]))
    mac.update(vector["data_ascii"].encode())
    return mac.finalize().hex().upper()


def x919(vector, derived: str) -> str:
    message = SensitiveBytes(vector["data_ascii"].encode())
    return retail_mac(DERIVED[derived](vector), message).hex().upper()


def clear_pin_block(vector) -> bytes:
    """ISO 9564 format 0: length and PIN filled with F, over the twelve digits of the PAN before its check digit."""
    pin = bytes.fromhex(f"0{len(vector['pin']):X}{vector['pin']}".ljust(16, "F"))
    pan = bytes.fromhex(vector["pan"][-13:-1].zfill(16))
    return bytes(a ^ b for a, b in zip(pin, pan, strict=True))


def pin_block(vector) -> str:
    return tdes_cbc(vector, "pin_key", clear_pin_block(vector))


RESULTS = {
    "pinblock_enc": pin_block,
    "mac_req_x919_8": lambda vector: x919(vector, "mac_req_key"),
    "mac_resp_x919_8": lambda vector: x919(vector, "mac_resp_key"),
    "mac_req_x919_first4": lambda vector: x919(vector, "mac_req_key")[:8],
    "mac_resp_x919_first4": lambda vector: x919(vector, "mac_resp_key")[:8],
    "cmac_req": lambda vector: cmac(vector, "mac_req_key"),
    "cmac_resp": lambda vector: cmac(vector, "mac_resp_key"),
    "data_req_cbc_iv0_zeropad24": lambda vector: tdes_cbc(
        vector, "data_req_key", vector["data_ascii"].encode()
    ),
    "data_resp_cbc_iv0_zeropad24": lambda vector: tdes_cbc(
        vector, "data_resp_key", vector["data_ascii"].encode()
    ),
}


@pytest.mark.parametrize("vector", KEYS, ids=name_of)
def test_derives_the_keys(vector):
    derived = {name: shown(DERIVED[name](vector)) for name in vector["expect"]}
    assert derived == vector["expect"]


@pytest.mark.parametrize("vector", OPERATIONS, ids=name_of)
def test_the_keys_do_what_the_standard_shows(vector):
    results = {name: RESULTS[name](vector) for name in vector["expect"]}
    assert results == vector["expect"]
    assert vector.get("clear_pinblock_iso0") in (None, clear_pin_block(vector).hex().upper())


def test_the_masks_are_those_of_the_file():
    assert DOCUMENT["tdes_variant_masks"] == {
        "pin": tdes.PIN_MASK.hex().upper(),
        "mac_req": tdes.MAC_REQUEST_MASK.hex().upper(),
        "mac_resp": tdes.MAC_RESPONSE_MASK.hex().upper(),
        "data_req": tdes.DATA_REQUEST_MASK.hex().upper(),
        "data_resp": tdes.DATA_RESPONSE_MASK.hex().upper(),
    }


def test_every_kind_of_key_and_result_occurs():
    assert {name for vector in KEYS for name in vector["expect"]} == set(DERIVED)
    assert {name for vector in OPERATIONS for name in vector["expect"]} == set(RESULTS)
