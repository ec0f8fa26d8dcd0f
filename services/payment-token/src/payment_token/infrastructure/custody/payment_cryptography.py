"""AWS Payment Cryptography: it derives the key of a payload and decrypts the payload, all inside.

No key reaches this process: a BDK, an initial key, a transaction key neither. Each part of a payload is one call
(``DecryptData``, data plane API of 2022-02-03), and the account's quota on calls is the ceiling.
"""

import re
from collections.abc import Mapping
from typing import Any

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode
from payment_token.domain.device_profile import Encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import (
    DecryptionFailedError,
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
)
from payment_token.domain.payload_cipher import block_bytes
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.infrastructure.custody.aws import AWSService
from payment_token.infrastructure.custody.aws_refusal import AWSRefusalError

_VARIANTS = {
    KeyVariant.DATA_REQUEST: "REQUEST",
    KeyVariant.DATA_RESPONSE: "RESPONSE",
    KeyVariant.DATA_BOTH: "BIDIRECTIONAL",
}

_CHECK_VALUE = re.compile(r"[0-9A-F]{6}")
_CHECK_KSN = {True: "FFFF9876543210E00001", False: "123456789012345600000001"}


class AWSPaymentCryptography:
    """Meets the port RemoteDecryptor. A BDK is named by its ARN."""

    def __init__(self, service: AWSService) -> None:
        self._service = service

    async def decrypt(
        self, bdk: BaseDerivationKey, ksn: KSN, encryption: Encryption, ciphertext: bytes
    ) -> SensitiveBytes:
        dukpt: dict[str, str] = {
            "KeySerialNumber": str(ksn),
            "Mode": encryption.mode.upper(),
            "DukptKeyDerivationType": _derivation_type(encryption.cipher),
            "DukptKeyVariant": _VARIANTS[encryption.key_variant],
        }
        if encryption.mode is Mode.CBC:
            iv = encryption.iv or bytes(block_bytes(encryption.cipher))
            dukpt["InitializationVector"] = iv.hex().upper()
        fault = None
        try:
            answer = await self._decrypt(bdk, dukpt, ciphertext)
        except AWSRefusalError as error:
            fault = error
        if fault is None:
            return SensitiveBytes(_plaintext(answer, len(ciphertext)))
        if fault.code == "ValidationException":
            raise DecryptionFailedError("custodian")
        raise _refused(fault)

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        """As the custodian itself tells it with every answer: X9.24-1 for TDES, CMAC for AES."""
        tdes = bdk.algorithm is BDKAlgorithm.TDES_2KEY
        dukpt = {
            "KeySerialNumber": _CHECK_KSN[tdes],
            "Mode": "ECB",
            "DukptKeyDerivationType": _derivation_type(Cipher(bdk.algorithm.value)),
            "DukptKeyVariant": "REQUEST",
        }
        fault = None
        try:
            answer = await self._decrypt(bdk, dukpt, bytes(8 if tdes else 16))
        except AWSRefusalError as error:
            fault = error
        if fault is not None:
            raise _refused(fault)
        value = str(answer.get("KeyCheckValue")).upper()
        if not _CHECK_VALUE.fullmatch(value):
            raise KeyCustodianUnavailableError
        return value

    async def _decrypt(
        self, bdk: BaseDerivationKey, dukpt: Mapping[str, str], ciphertext: bytes
    ) -> Mapping[str, Any]:
        return await self._service.call(
            bdk.key_uri,
            "decrypt_data",
            KeyIdentifier=bdk.key_uri,
            CipherText=ciphertext.hex().upper(),
            DecryptionAttributes={"Dukpt": dict(dukpt)},
        )


def _plaintext(answer: Mapping[str, Any], length: int) -> bytes:
    plaintext = b""
    try:
        plaintext = bytes.fromhex(str(answer.get("PlainText")))
    except ValueError:
        pass
    if len(plaintext) != length:
        raise KeyCustodianUnavailableError
    return plaintext


def _derivation_type(cipher: Cipher) -> str:
    return cipher.replace("-", "_").upper()


def _refused(fault: AWSRefusalError) -> KeyCustodianRefusedError:
    return KeyCustodianRefusedError(
        f"AWS Payment Cryptography refuses decrypt_data: {fault.code}. Check the key and the permissions."
    )
