"""The newest part of the log is verified while it grows."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from payment_token.bootstrap import continuous_verification
from payment_token.bootstrap.continuous_verification import TAMPERED, ContinuousVerification
from tests.support.audit_rows import as_superuser
from tests.support.sealing import ORIGIN, VERIFIER, SealedDatabase, sealed_database


@pytest.fixture
def log(database_url: str) -> Iterator[SealedDatabase]:
    with sealed_database(database_url) as log:
        log.database.execute(
            "INSERT INTO encryption_keys (purpose, version, state, kms_key_id, wrapped_key, environment, public_key)"
            " VALUES ('audit-signing', 'v1', 'active', 'local:kek', '', 'test', %s)",
            (VERIFIER.public_key,),
        )
        yield log


@pytest.fixture
def verification(database_url: str) -> ContinuousVerification:
    return ContinuousVerification(database_url, ORIGIN)


async def verified(verification: ContinuousVerification) -> dict[str, str]:
    verification._note(verification._verify())
    return await verification.readiness()


async def test_a_log_that_is_as_it_was_sealed(
    log: SealedDatabase, verification: ContinuousVerification
) -> None:
    assert await verified(verification) == {}
    log.writer().write(300)
    await log.seal()

    assert await verified(verification) == {}
    assert verification.metrics.records._value.get() == 300
    assert verification.metrics.findings._value.get() == 0


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM decrypt_audit_log WHERE sequence = 250",
        "UPDATE decrypt_audit_log SET record = replace(record, 'm_1', 'm_2') WHERE sequence = 250",
        "UPDATE decrypt_audit_log SET recorded_at = recorded_at - interval '1 ms' WHERE sequence = 250",
    ],
)
async def test_tampering_is_an_alarm_and_its_end_is_not(
    log: SealedDatabase, verification: ContinuousVerification, tampering: str
) -> None:
    log.writer().write(300)
    await log.seal()
    row = log.database.execute(
        "SELECT month, writer_id, sequence, recorded_at, record FROM decrypt_audit_log WHERE sequence = 250"
    ).fetchone()
    with as_superuser(log.database) as database:
        database.execute(tampering)

    assert await verified(verification) == {"audit_log": TAMPERED}
    assert verification.metrics.findings._value.get() >= 1

    with as_superuser(log.database) as database:
        database.execute("DELETE FROM decrypt_audit_log WHERE sequence = 250")
        database.execute("INSERT INTO decrypt_audit_log VALUES (%s, %s, %s, %s, %s)", row)
    assert await verified(verification) == {}


async def test_what_is_older_than_an_hour_is_left_to_auditors(
    log: SealedDatabase,
    verification: ContinuousVerification,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log.writer().write(5)
    await log.seal()
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    log.writer().write(7)
    await log.seal()
    monkeypatch.setattr(continuous_verification, "SPAN", datetime.now(UTC) - since)

    assert await verified(verification) == {}
    assert verification.metrics.records._value.get() == 7


async def test_a_database_that_is_away_is_no_alarm_and_no_end(
    verification: ContinuousVerification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_url", "postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(psycopg.Error):
        verification._verify()

    async with verification.at_work():
        await asyncio.sleep(0.05)
        assert await verification.readiness() == {}
    verification._verified_at -= timedelta(hours=1).total_seconds()
    assert await verification.readiness() == {"audit_log": "audit_log_not_verified"}
