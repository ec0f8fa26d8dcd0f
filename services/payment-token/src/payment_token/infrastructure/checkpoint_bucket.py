"""Checkpoints as objects of an S3 bucket with Object Lock. The contract is :class:`payment_token.domain.log_sealing.ports.CheckpointPlace`.

An object is named by the size of its tree, in twenty digits, so that the bucket lists them in order. It is kept in
COMPLIANCE mode: until its date nobody can delete it or shorten that, the account's root user included. The bucket must have
Object Lock, which S3 grants when a bucket is made.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from payment_token.domain.errors import KeyCustodianUnavailableError
from payment_token.domain.log_sealing.ports import PlaceUnavailableError
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.domain.transparency.signed_note import MOST_BYTES
from payment_token.infrastructure.custody.aws_refusal import AWSRefusalError

_DAYS_IN_A_YEAR = 365.25
_KEYS_AT_ONCE = 1000


class _Client(Protocol):
    def call(
        self, region: str, operation: str, parameters: Mapping[str, object]
    ) -> Mapping[str, Any]: ...


class CheckpointBucket:
    """``url`` is ``s3://bucket/prefix``. For one event loop."""

    def __init__(
        self,
        url: str,
        retention_years: float,
        *,
        region: str,
        endpoint_url: str | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._bucket = parts.netloc
        prefix = parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._retention = timedelta(days=retention_years * _DAYS_IN_A_YEAR)
        self._region = region
        self._endpoint_url = endpoint_url
        self._now = now
        self._client: _Client | None = None
        # boto3 blocks. One thread, because one checkpoint is on its way at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")

    @property
    def name(self) -> str:
        return f"AUDIT_CHECKPOINT_BUCKET {self._url}"

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def beyond(self, size: int) -> str | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._beyond, size)

    async def publish(self, note: str) -> None:
        size = Checkpoint.read(note).size
        parameters = {
            "Key": self._key(size),
            "Body": note.encode(),
            "ContentType": "text/plain; charset=utf-8",
            # Object Lock asks for a checksum of what is put.
            "ChecksumAlgorithm": "SHA256",
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": self._now() + self._retention,
        }
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._call, "put_object", parameters)

    def _beyond(self, size: int) -> str | None:
        key = self._last_key(f"{self._prefix}{size - 1:020d}" if size else self._prefix)
        if key is None:
            return None
        answer = self._call("get_object", {"Key": key})
        note = b""
        # Of a stream that breaks, botocore and urllib3 raise whatever they like. No note is an empty one.
        with contextlib.suppress(Exception):
            note = answer["Body"].read(MOST_BYTES)
        if not note:
            raise PlaceUnavailableError
        return note.decode(errors="replace")

    def _last_key(self, after: str) -> str | None:
        last = None
        while True:
            page = {"Prefix": self._prefix, "StartAfter": after, "MaxKeys": _KEYS_AT_ONCE}
            answer = self._call("list_objects_v2", page)
            keys = [
                str(found["Key"])
                for found in answer.get("Contents", ())
                if str(found["Key"]).removeprefix(self._prefix).isdecimal()
            ]
            last = keys[-1] if keys else last
            if not answer.get("IsTruncated"):
                return last
            after = str(answer["Contents"][-1]["Key"])

    def _call(self, operation: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        try:
            return self._opened().call(
                self._region, operation, {"Bucket": self._bucket, **parameters}
            )
        except (AWSRefusalError, KeyCustodianUnavailableError):
            # It is in the log what S3 says.
            pass
        raise PlaceUnavailableError

    def _opened(self) -> _Client:
        # boto3 takes longer to load than most commands to work, and most deployments have no bucket.
        from payment_token.infrastructure.custody.aws_client import AWSClient

        if self._client is None:
            self._client = AWSClient("s3", self._endpoint_url, 1)
        return self._client

    def _key(self, size: int) -> str:
        return f"{self._prefix}{size:020d}"
