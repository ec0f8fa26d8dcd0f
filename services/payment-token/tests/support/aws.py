"""AWS KMS as moto's server speaks it: real HTTP, real boto3, and keys whose material a test can look at and choose.

Where moto is laxer than AWS, or answers another error, it is corrected here: the state of a key, its usage, and what
a ciphertext of another key is answered with (API reference of AWS KMS, section "Errors" of each operation).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import JsonRESTError
from moto.kms.models import KmsBackend, kms_backends
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}


class KMS:
    """``endpoint`` is the URL of the server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client: Any = boto3.client("kms", region_name=REGION, endpoint_url=endpoint)

    def hmac_key(self, material: bytes | None = None) -> str:
        """The ARN of a new HMAC key; of this material, as if it had been imported."""
        arn = self._create(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        if material is not None:
            self._held(arn).key_material = material
        return arn

    def kek(self) -> str:
        return self._create(KeySpec="SYMMETRIC_DEFAULT", KeyUsage="ENCRYPT_DECRYPT")

    def material(self, arn: str) -> bytes:
        return bytes(self._held(arn).key_material)

    def _create(self, **parameters: str) -> str:
        return str(self.client.create_key(**parameters)["KeyMetadata"]["Arn"])

    @staticmethod
    def _held(arn: str) -> Any:
        return kms_backends[DEFAULT_ACCOUNT_ID][REGION].keys[arn.rpartition("/")[2]]


class _RefusalError(JsonRESTError):
    code = 400


def _check_usable(backend: Any, key_id: str, usage: str) -> None:
    key = backend.keys[backend.any_id_to_key_id(key_id)]
    if key.key_state == "PendingDeletion":
        raise _RefusalError("KMSInvalidStateException", "pending deletion")
    if not key.enabled:
        raise _RefusalError("DisabledException", "disabled")
    if key.key_usage != usage:
        raise _RefusalError("InvalidKeyUsageException", "usage")


def _checked(operation: str, usage: str) -> Any:
    original = getattr(KmsBackend, operation)

    @wraps(original)
    def corrected(self: Any, **parameters: Any) -> Any:
        _check_usable(self, parameters["key_id"], usage)
        try:
            return original(self, **parameters)
        except JsonRESTError as error:
            if operation != "decrypt" or error.error_type != "AccessDeniedException":
                raise
        raise _RefusalError("IncorrectKeyException", "another key")

    return corrected


def _schedule_key_deletion(original: Any) -> Any:
    @wraps(original)
    def corrected(self: Any, key_id: str, pending_window_in_days: int) -> Any:
        key_id = self.any_id_to_key_id(key_id)
        if self.keys[key_id].key_state == "PendingDeletion":
            raise _RefusalError("KMSInvalidStateException", "pending deletion")
        return original(self, key_id, pending_window_in_days)

    return corrected


@contextmanager
def _corrected() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for operation, usage in (
            ("encrypt", "ENCRYPT_DECRYPT"),
            ("decrypt", "ENCRYPT_DECRYPT"),
            ("generate_mac", "GENERATE_VERIFY_MAC"),
        ):
            patch.setattr(KmsBackend, operation, _checked(operation, usage))
        deletion = _schedule_key_deletion(KmsBackend.schedule_key_deletion)
        patch.setattr(KmsBackend, "schedule_key_deletion", deletion)
        yield


@contextmanager
def serving_kms() -> Iterator[KMS]:
    with _corrected(), _moto() as kms:
        yield kms


@contextmanager
def _moto() -> Iterator[KMS]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield KMS(f"http://{host}:{port}")
    finally:
        server.stop()
