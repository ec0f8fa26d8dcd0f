"""TDES DUKPT against published vectors: keys, and what terminals do with them."""

from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, tdes
from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import entries

VARIANTS = {
    "pin_key": (tdes.variant_key, tdes.PIN_MASK),
    "mac_req_key": (tdes.variant_key, tdes.MAC_REQUEST_MASK),
    "mac_resp_key": (tdes.variant_key, tdes.MAC_RESPONSE_MASK),
    "data_req_key": (tdes.data_key, tdes.DATA_REQUEST_MASK),
    "data_resp_key": (tdes.data_key, tdes.DATA_RESPONSE_MASK),
}


def keys_of(entry: dict[str, Any]) -> dict[str, SecretKey]:
    ksn = KSN.from_hex(entry["ksn"], Scheme.DUKPT_TDES)
    initial = tdes.initial_key(SecretKey(bytes.fromhex(entry["bdk"])), ksn)
    transaction = tdes.transaction_key(initial, ksn)
    assert DerivationPath(ksn.scheme, initial).transaction_key(ksn) == transaction
    return {
        "ipek": initial,
        "txn_key": transaction,
        **{name: derive(transaction, mask) for name, (derive, mask) in VARIANTS.items()},
    }


@pytest.mark.parametrize("entry", entries("tdes_keys"))
def test_keys(entry: dict[str, Any]) -> None:
    derived = keys_of(entry)

    assert entry["expect"] == {
        name: derived[name].reveal().hex().upper() for name in entry["expect"]
    }


@pytest.mark.parametrize("entry", entries("tdes_crypto"))
def test_what_terminals_compute_with_them(entry: dict[str, Any]) -> None:
    keys = {name: key.reveal() for name, key in keys_of(entry).items()}
    data = entry.get("data_ascii", "").encode()
    computed = {"pinblock_enc": ecb(keys["pin_key"], pin_block_iso0(entry["pin"], entry["pan"]))}
    if data:
        request, response = keys["mac_req_key"], keys["mac_resp_key"]
        computed |= {
            "mac_req_x919_8": retail_mac(request, data),
            "mac_resp_x919_8": retail_mac(response, data),
            "mac_req_x919_first4": retail_mac(request, data)[:4],
            "mac_resp_x919_first4": retail_mac(response, data)[:4],
            "cmac_req": cmac(request, data),
            "cmac_resp": cmac(response, data),
            "data_req_cbc_iv0_zeropad24": cbc(keys["data_req_key"], data.ljust(24, b"\0")),
            "data_resp_cbc_iv0_zeropad24": cbc(keys["data_resp_key"], data.ljust(24, b"\0")),
        }

    assert entry["expect"] == {name: computed[name].hex().upper() for name in entry["expect"]}


def pin_block_iso0(pin: str, pan: str) -> bytes:
    clear_pin = bytes.fromhex(f"0{len(pin)}{pin}".ljust(16, "F"))
    account = bytes.fromhex(pan[-13:-1].rjust(16, "0"))
    return bytes(left ^ right for left, right in zip(clear_pin, account, strict=True))


def triple(key: bytes) -> TripleDES:
    return TripleDES(key + key[:8])


def ecb(key: bytes, block: bytes) -> bytes:
    return Cipher(triple(key), modes.ECB()).encryptor().update(block)  # noqa: S305 - one block


def cbc(key: bytes, data: bytes) -> bytes:
    return Cipher(triple(key), modes.CBC(bytes(8))).encryptor().update(data)


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(triple(key))
    mac.update(data)
    return mac.finalize()


def retail_mac(key: bytes, data: bytes) -> bytes:
    """ANSI X9.19: single DES in CBC, and the last block under both halves of the key."""
    padded = data + bytes(-len(data) % 8)
    single = Cipher(TripleDES(key[:8] * 3), modes.CBC(bytes(8))).encryptor().update(padded)[-8:]
    middle = Cipher(TripleDES(key[8:] * 3), modes.ECB()).decryptor().update(single)  # noqa: S305
    return Cipher(TripleDES(key[:8] * 3), modes.ECB()).encryptor().update(middle)  # noqa: S305
