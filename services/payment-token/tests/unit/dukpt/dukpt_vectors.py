"""The sections of the vector file, and the keys that each entry names."""

from typing import Any

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, aes, initial_key, tdes
from payment_token.domain.dukpt.aes import KeyType, KeyUsage
from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import dukpt_vectors

DOCUMENT = dukpt_vectors()

USAGES = {
    "kek": KeyUsage.KEY_ENCRYPTION,
    "pin": KeyUsage.PIN_ENCRYPTION,
    "mac_gen": KeyUsage.MAC_GENERATION,
    "mac_ver": KeyUsage.MAC_VERIFICATION,
    "mac_both": KeyUsage.MAC_BOTH,
    "data_enc": KeyUsage.DATA_ENCRYPTION,
    "data_dec": KeyUsage.DATA_DECRYPTION,
    "data_both": KeyUsage.DATA_BOTH,
    "derivation": KeyUsage.KEY_DERIVATION,
    "initial": KeyUsage.INITIAL_KEY,
}
KEY_TYPES = {
    "2TDEA": KeyType.TDEA_2KEY,
    "3TDEA": KeyType.TDEA_3KEY,
    "AES128": KeyType.AES_128,
    "AES192": KeyType.AES_192,
    "AES256": KeyType.AES_256,
    "HMAC128": KeyType.HMAC_128,
    "HMAC192": KeyType.HMAC_192,
    "HMAC256": KeyType.HMAC_256,
}

Vector = dict[str, Any]


def name_of(vector: Vector) -> str:
    """The test id: an entry without an id of its own is named by its KSN."""
    return vector.get("id") or vector["ksn"]


def base_derivation_key(vector: Vector) -> SecretKey:
    return SecretKey(bytes.fromhex(vector["bdk"]))


def tdes_transaction_key(vector: Vector) -> SecretKey:
    ksn = KSN.of_any_counter(vector["ksn"], Scheme.DUKPT_TDES)
    return tdes.transaction_key(initial_key(base_derivation_key(vector), ksn), ksn)


def aes_transaction_key(vector: Vector) -> tuple[SecretKey, KSN]:
    ksn = KSN.of_any_counter(vector["ksn"], Scheme.DUKPT_AES)
    return aes.transaction_key(initial_key(base_derivation_key(vector), ksn), ksn), ksn


def aes_working_key(vector: Vector, usage: str, key_type: str) -> SecretKey:
    transaction, ksn = aes_transaction_key(vector)
    return aes.working_key(transaction, ksn, USAGES[usage], KEY_TYPES[key_type])


def shown(key: SecretKey) -> str:
    return key.reveal().hex().upper()


def zero_padded(data: bytes, block: int) -> bytes:
    return data + bytes(-len(data) % block)
