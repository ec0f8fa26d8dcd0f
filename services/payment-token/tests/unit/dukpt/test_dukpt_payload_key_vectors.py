"""Each variant and cipher of a payload picks the published working key that it stands for."""

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Scheme
from payment_token.domain.dukpt import KSN, payload_key
from tests.unit.dukpt.dukpt_vectors import (
    DOCUMENT,
    aes_transaction_key,
    name_of,
    shown,
    tdes_transaction_key,
)

TDES_VARIANTS = {
    "data_req_key": KeyVariant.DATA_REQUEST,
    "data_resp_key": KeyVariant.DATA_RESPONSE,
    "pin_key": KeyVariant.PIN,
}
AES_VARIANTS = {
    "data_enc": KeyVariant.DATA_REQUEST,
    "data_dec": KeyVariant.DATA_RESPONSE,
    "data_both": KeyVariant.DATA_BOTH,
    "pin": KeyVariant.PIN,
}
AES_CIPHERS = {
    "2TDEA": Cipher.TDES_2KEY,
    "3TDEA": Cipher.TDES_3KEY,
    "AES128": Cipher.AES_128,
    "AES192": Cipher.AES_192,
    "AES256": Cipher.AES_256,
}

# No vector has the response key for TDES ciphers.
WITHOUT_VECTOR = {"data_dec/2TDEA", "data_dec/3TDEA"}


def tdes_keys(vector) -> dict[str, str]:
    return {name: key for name, key in vector["expect"].items() if name in TDES_VARIANTS}


def aes_keys(vector) -> dict[str, str]:
    return {
        name: key
        for name, key in vector["expect"].get("working", {}).items()
        if name.split("/")[0] in AES_VARIANTS and name.split("/")[1] in AES_CIPHERS
    }


TDES = [vector for vector in DOCUMENT["tdes_keys"] if tdes_keys(vector)]
AES = [vector for vector in DOCUMENT["aes_keys"] if aes_keys(vector)]


@pytest.mark.parametrize("cipher", [Cipher.TDES_2KEY, Cipher.AES_128])
@pytest.mark.parametrize("vector", TDES, ids=name_of)
def test_a_tdes_variant_picks_its_key_whatever_the_cipher(vector, cipher):
    transaction = tdes_transaction_key(vector)
    ksn = KSN.of_any_counter(vector["ksn"], Scheme.DUKPT_TDES)
    picked = {
        name: shown(payload_key(transaction, ksn, TDES_VARIANTS[name], cipher))
        for name in tdes_keys(vector)
    }
    assert picked == tdes_keys(vector)


@pytest.mark.parametrize("vector", AES, ids=name_of)
def test_an_aes_variant_and_cipher_pick_their_key(vector):
    transaction, ksn = aes_transaction_key(vector)
    picked = {}
    for name in aes_keys(vector):
        variant, cipher = name.split("/")
        key = payload_key(transaction, ksn, AES_VARIANTS[variant], AES_CIPHERS[cipher])
        picked[name] = shown(key)
    assert picked == aes_keys(vector)


def test_every_variant_and_cipher_occurs():
    assert {name for vector in TDES for name in tdes_keys(vector)} == set(TDES_VARIANTS)
    assert {name for vector in AES for name in aes_keys(vector)} == {
        f"{variant}/{cipher}"
        for variant in AES_VARIANTS
        for cipher in AES_CIPHERS
        if f"{variant}/{cipher}" not in WITHOUT_VECTOR
    }
    assert set(TDES_VARIANTS.values()) | {KeyVariant.DATA_BOTH} == set(KeyVariant)
    assert set(AES_CIPHERS.values()) == set(Cipher)
