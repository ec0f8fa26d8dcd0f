"""The examples of OpenAPI are worked: they are what the code really takes and gives."""

import base64
import json

from payment_token.api.rest.decrypt_models import DecryptBody
from payment_token.api.rest.token_models import (
    EXAMPLE_CIPHERTEXT,
    EXAMPLE_KSN,
    CreateTokenBody,
    TokenBody,
)
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, payload_key
from payment_token.domain.payload_cipher import decrypt
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.token_id import TokenId

BDK = SecretKey(bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"))


def test_the_ciphertext_decrypts() -> None:
    ksn = KSN.from_hex(EXAMPLE_KSN, Scheme.DUKPT_AES)
    transaction_key = DerivationPath(ksn.scheme, initial_key(BDK, ksn)).transaction_key(ksn)
    key = payload_key(transaction_key, ksn, KeyVariant.DATA_REQUEST, Cipher.AES_128)

    clear = decrypt(key, Cipher.AES_128, Mode.CBC, None, base64.b64decode(EXAMPLE_CIPHERTEXT))

    assert clear.reveal().rstrip(b"\0") == b";4111111111111111=30122010000012345678?"


def test_every_example_is_a_valid_body() -> None:
    for model in (CreateTokenBody, TokenBody, DecryptBody):
        (example,) = model.model_json_schema()["examples"]
        model.model_validate_json(json.dumps(example))
        if "payment_token" in example:
            TokenId.parse(example["payment_token"])


def test_metadata_of_the_example_passes_the_cleartext_guard() -> None:
    (example,) = CreateTokenBody.model_json_schema()["examples"]
    CreateTokenBody.model_validate(example).to_domain("key-1", "")
