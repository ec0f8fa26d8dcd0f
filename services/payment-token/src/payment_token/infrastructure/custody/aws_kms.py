"""AWS KMS: HMAC keys as BDKs, and symmetric keys as KEKs. Neither ever leaves it.

AWS KMS knows neither TDES nor raw AES, so no derivation of X9.24 runs inside it. Instead one ``GenerateMac`` call is
the derivation step, for fleets that we provision: the result is injected into the terminal as its initial key, and
the key tree of X9.24 runs unchanged from there. Messages, with ``LP(x)`` for ``x`` with its 16-bit length before it:

=================  =======================================================================================
initial key        the first bytes of HMAC("pts/initial-key/v1" ‖ LP(algorithm) ‖ LP(initial key id))
device-aead key    HMAC of the message that :mod:`payment_token.domain.device_aead` defines
check value        the first 3 bytes of HMAC("pts/key-check-value/v1")
=================  =======================================================================================

The algorithm is that of the initial key (``tdes-2key``, ``aes-128``, …), the initial key id as in the KSN.

A scheme that derives keys as HKDF-SHA-256(BDK, salt=None, info) moves here unchanged: import HMAC-SHA-256(32 zero
bytes, BDK) as key material; then GenerateMac(info ‖ 0x01) is its key, bit for bit.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_check_value import CHECK_VALUE_BYTES, HMAC_MESSAGE
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.aws import AWSService, answered
from payment_token.infrastructure.custody.aws_refusal import AWSRefusalError

_INITIAL_KEY_LABEL = b"pts/initial-key/v1"
_NOT_OURS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_GONE = frozenset({"NotFoundException"})

_KEY_BYTES = 32
_MAC_BYTES = 32
_MOST_BLOB_BYTES = 6144


class AWSKMS:
    """Meets the ports InitialKeys, KeyEncrypter and KEKs. A key is named by its ARN."""

    def __init__(self, service: AWSService) -> None:
        self._service = service

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        mac = await self._mac(bdk, initial_key_message(bdk, ksn))
        return SecretKey(mac[: bdk.algorithm.key_bytes])

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        return SecretKey(await self._mac(bdk, name.derivation_message))

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        mac = await self._mac(bdk, HMAC_MESSAGE)
        return mac[:CHECK_VALUE_BYTES].hex().upper()

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        answer = await self._call(
            kek_uri, "generate_data_key", KeySpec="AES_256", EncryptionContext=dict(context)
        )
        return SecretKey(answered(answer, "Plaintext", _KEY_BYTES)), _blob(answer)

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes:
        answer = await self._call(
            kek_uri, "encrypt", Plaintext=key.reveal(), EncryptionContext=dict(context)
        )
        return _blob(answer)

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        # What AWS KMS cannot have made would be refused as a call, like an error of ours.
        if not 0 < len(wrapped) <= _MOST_BLOB_BYTES:
            raise RecordIntegrityFailureError
        answer = await self._call(
            kek_uri, "decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context)
        )
        return SecretKey(answered(answer, "Plaintext", _KEY_BYTES))

    async def make_kek(self, like_uri: str, name: str) -> str:
        answer = await self._call(
            like_uri,
            "create_key",
            without_key_id=True,
            Description=f"payment-token KEK {name}",
            KeySpec="SYMMETRIC_DEFAULT",
            KeyUsage="ENCRYPT_DECRYPT",
        )
        return str(answer["KeyMetadata"]["Arn"])

    async def destroy_kek(self, kek_uri: str, waiting_days: int) -> datetime | None:
        fault = None
        try:
            answer = await self._service.call(
                kek_uri, "schedule_key_deletion", KeyId=kek_uri, PendingWindowInDays=waiting_days
            )
        except AWSRefusalError as error:
            fault = error
        if fault is None:
            due: datetime = answer["DeletionDate"]
            return due
        if fault.code in _GONE:
            return None
        if fault.code == "KMSInvalidStateException":
            return await self.destruction_due(kek_uri)
        raise _refused("schedule_key_deletion", fault)

    async def destruction_due(self, kek_uri: str) -> datetime | None:
        """When the key goes; ``None`` once it is gone."""
        fault = None
        try:
            answer = await self._service.call(kek_uri, "describe_key", KeyId=kek_uri)
        except AWSRefusalError as error:
            fault = error
        if fault is None:
            due: datetime | None = answer["KeyMetadata"].get("DeletionDate")
            if due is None:
                raise KeyCustodianRefusedError("AWS KMS has no date for the deletion of this key.")
            return due
        if fault.code in _GONE:
            return None
        raise _refused("describe_key", fault)

    async def _mac(self, bdk: BaseDerivationKey, message: bytes) -> bytes:
        answer = await self._call(
            bdk.key_uri, "generate_mac", MacAlgorithm="HMAC_SHA_256", Message=message
        )
        return answered(answer, "Mac", _MAC_BYTES)

    async def _call(
        self, key_uri: str, operation: str, *, without_key_id: bool = False, **parameters: object
    ) -> Mapping[str, Any]:
        if not without_key_id:
            parameters["KeyId"] = key_uri
        fault = None
        try:
            return await self._service.call(key_uri, operation, **parameters)
        except AWSRefusalError as error:
            fault = error
        if fault.code in _NOT_OURS:
            raise RecordIntegrityFailureError
        raise _refused(operation, fault)


def _blob(answer: Mapping[str, Any]) -> bytes:
    blob = answer.get("CiphertextBlob")
    if not isinstance(blob, bytes) or not blob:
        raise KeyCustodianUnavailableError
    return blob


def _refused(operation: str, fault: AWSRefusalError) -> KeyCustodianRefusedError:
    return KeyCustodianRefusedError(
        f"AWS KMS refuses {operation}: {fault.code}. Check the key, its usage and the permissions."
    )


def initial_key_message(bdk: BaseDerivationKey, ksn: KSN) -> bytes:
    """What ``GenerateMac`` gets for the initial key of the device that the KSN names."""
    return _INITIAL_KEY_LABEL + length_prefixed(bdk.algorithm.encode(), ksn.initial_key_id)
