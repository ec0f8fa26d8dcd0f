"""The data plane of AWS Payment Cryptography, API 2022-02-03, as far as DecryptData with DUKPT goes.

It holds BDKs, derives with this service's own DUKPT code (which the published vectors test), and answers with the
shapes of the real one: restJson1, hexadecimal text, the key check value of the BDK with every answer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode
from payment_token.domain.dukpt import KSN, initial_key, payload_key
from payment_token.domain.dukpt.derivation_path import DerivationPath
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.errors import InvalidInputError
from payment_token.domain.key_check_value import key_check_value
from payment_token.domain.payload_cipher import block_bytes, decrypt
from payment_token.domain.sensitive import SecretKey
from tests.support.loopback_server import Answer, LoopbackServer, Request

_ARN = "arn:aws:payment-cryptography:eu-central-1:123456789012:key/"
_VARIANTS = {
    "REQUEST": KeyVariant.DATA_REQUEST,
    "RESPONSE": KeyVariant.DATA_RESPONSE,
    "BIDIRECTIONAL": KeyVariant.DATA_BOTH,
}
_KSN_DIGITS = (16, 20, 24)
_LONGEST_CIPHERTEXT = 4224


class _RefusedError(Exception):
    """Answered as an error: status and code."""


class PaymentCryptography:
    """``server`` can be told to fail."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[BDKAlgorithm, SecretKey]] = {}
        self.server = LoopbackServer(self._respond)

    def import_bdk(self, algorithm: BDKAlgorithm, key: SecretKey) -> str:
        """What the control plane's ImportKey does. Returns the ARN."""
        arn = f"{_ARN}{'abcdefghij'[len(self._keys) % 10] * 8}{len(self._keys):08}"
        self._keys[arn] = (algorithm, key)
        return arn

    def _respond(self, request: Request) -> Answer:
        try:
            return Answer.of_json(self._decrypt(request))
        except _RefusedError as error:
            return Answer.of_error(*error.args)

    def _decrypt(self, request: Request) -> dict[str, str]:
        _, keys, identifier, operation = request.path.split("/")
        if (keys, operation) != ("keys", "decrypt"):
            raise _RefusedError(404, "ResourceNotFoundException")
        arn = unquote(identifier)
        if arn not in self._keys:
            raise _RefusedError(404, "ResourceNotFoundException")
        algorithm, bdk = self._keys[arn]
        body = json.loads(request.body)
        plaintext = _decrypted(bdk, algorithm, body)
        value = key_check_value(bdk, algorithm)
        return {"KeyArn": arn, "KeyCheckValue": value, "PlainText": plaintext.hex().upper()}


def _decrypted(bdk: SecretKey, algorithm: BDKAlgorithm, body: dict[str, Any]) -> bytes:
    attributes = body["DecryptionAttributes"]["Dukpt"]
    cipher = Cipher(attributes["DukptKeyDerivationType"].lower().replace("_", "-"))
    mode, ciphertext = Mode(attributes["Mode"].lower()), _hexadecimal(body["CipherText"])
    iv = attributes.get("InitializationVector")
    _check(len(body["CipherText"]) <= _LONGEST_CIPHERTEXT)
    _check(bool(ciphertext) and len(ciphertext) % block_bytes(cipher) == 0)
    _check(mode in (Mode.CBC, Mode.ECB) and (iv is None) is (mode is Mode.ECB))
    _check(algorithm is not BDKAlgorithm.TDES_2KEY or cipher is Cipher.TDES_2KEY)
    key = None
    try:
        key = _payload_key(bdk, algorithm, attributes, cipher)
    except InvalidInputError:
        pass
    if key is None:
        raise _RefusedError(400, "ValidationException")
    return decrypt(key, cipher, mode, bytes.fromhex(iv) if iv else None, ciphertext).reveal()


def _payload_key(
    bdk: SecretKey, algorithm: BDKAlgorithm, attributes: dict[str, str], cipher: Cipher
) -> SecretKey:
    serial = attributes["KeySerialNumber"]
    _check(len(serial) in _KSN_DIGITS)
    ksn = KSN.of_any_counter(serial, algorithm.scheme)
    path = DerivationPath(ksn.scheme, initial_key(bdk, ksn))
    variant = _VARIANTS[attributes["DukptKeyVariant"]]
    return payload_key(path.transaction_key(ksn), ksn, variant, cipher)


def _hexadecimal(text: str) -> bytes:
    value = None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        pass
    if value is None:
        raise _RefusedError(400, "ValidationException")
    return value


def _check(holds: bool) -> None:  # noqa: FBT001 - a rule of the service
    if not holds:
        raise _RefusedError(400, "ValidationException")


@contextmanager
def serving_payment_cryptography() -> Iterator[PaymentCryptography]:
    double = PaymentCryptography()
    with double.server.serving():
        yield double
