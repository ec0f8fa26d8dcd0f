"""Checkpoints in a bucket with Object Lock, over the wire of moto's server."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from payment_token.domain.keys import NamedKey
from payment_token.domain.log_sealing.ports import PlaceUnavailableError
from payment_token.domain.sensitive import SecretKey
from payment_token.domain.transparency.checkpoint import Checkpoint
from payment_token.infrastructure import checkpoint_bucket
from payment_token.infrastructure.checkpoint_bucket import CheckpointBucket
from tests.support.aws import KMS, REGION

KEY = NamedKey("v1", SecretKey(bytes(range(32))))
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def note(size: int) -> str:
    return Checkpoint("payment-token/test/decrypt-audit", size, bytes(32)).signed(KEY)


@pytest.fixture
def s3(kms: KMS) -> Any:
    return boto3.client("s3", region_name=REGION, endpoint_url=kms.endpoint)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"checkpoints-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(
        Bucket=name,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    return name


@pytest.fixture(params=["", "/", "/audit", "/a/b/"], ids=["bare", "slash", "prefix", "deep"])
def place(request: pytest.FixtureRequest, kms: KMS, bucket: str) -> Iterator[CheckpointBucket]:
    made = _place(f"s3://{bucket}{request.param}", kms.endpoint)
    yield made
    made.close()


def _place(url: str, endpoint: str) -> CheckpointBucket:
    return CheckpointBucket(url, 7, region=REGION, endpoint_url=endpoint, now=lambda: NOW)


async def test_the_one_of_the_largest_tree_is_found(place: CheckpointBucket) -> None:
    assert await place.beyond(0) is None
    for size in (9, 10, 2, 100):
        await place.publish(note(size))

    assert await place.beyond(0) == note(100)
    assert await place.beyond(100) == note(100)
    assert await place.beyond(101) is None
    # The same again is fine.
    await place.publish(note(100))
    assert await place.beyond(10) == note(100)


async def test_nobody_deletes_what_was_published(kms: KMS, s3: Any, bucket: str) -> None:
    place = _place(f"s3://{bucket}/audit", kms.endpoint)
    await place.publish(note(4711))

    key = "audit/00000000000000004711"
    kept = s3.get_object(Bucket=bucket, Key=key)
    assert kept["Body"].read().decode() == note(4711)
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    years = kept["ObjectLockRetainUntilDate"] - NOW
    assert timedelta(days=7 * 365 + 1) <= years <= timedelta(days=7 * 365 + 2)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=kept["VersionId"])
    place.close()


async def test_many_are_listed_to_the_last_one(
    kms: KMS, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_bucket, "_KEYS_AT_ONCE", 10)
    place = _place(f"s3://{bucket}/audit", kms.endpoint)
    for size in range(1, 34):
        s3.put_object(Bucket=bucket, Key=f"audit/{size:020d}", Body=note(size).encode())
    s3.put_object(Bucket=bucket, Key="audit/zz", Body=b"somebody else's")
    s3.put_object(Bucket=bucket, Key=f"auditor/{5000:020d}", Body=b"somebody else's")

    assert await place.beyond(1) == note(33)
    place.close()


async def test_a_bucket_that_cannot_be_used_is_an_outage(
    kms: KMS, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    missing = _place(f"s3://{bucket}-is-missing", kms.endpoint)
    away = _place(f"s3://{bucket}", "http://127.0.0.1:1")
    for place in (missing, away):
        with pytest.raises(PlaceUnavailableError):
            await place.publish(note(1))
        with pytest.raises(PlaceUnavailableError):
            await place.beyond(0)
        place.close()

    assert "NoSuchBucket" in {getattr(record, "fault", "") for record in caplog.records}


async def test_a_bucket_without_object_lock_takes_nothing(kms: KMS, s3: Any) -> None:
    name = f"open-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    place = _place(f"s3://{name}", kms.endpoint)

    with pytest.raises(PlaceUnavailableError):
        await place.publish(note(1))
    place.close()


async def test_an_empty_object_is_no_note(kms: KMS, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key=f"{5:020d}", Body=b"")
    place = _place(f"s3://{bucket}", kms.endpoint)

    with pytest.raises(PlaceUnavailableError):
        await place.beyond(1)
    place.close()
