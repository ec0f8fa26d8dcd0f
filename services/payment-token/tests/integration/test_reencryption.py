"""Re-encryption on PostgreSQL: interrupted, raced, repeated, and never undoing what somebody else did."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from payment_token.domain.key_life.ports import RecordPlace, SealedPAN
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose
from payment_token.domain.ports import InactiveKeyError
from payment_token.infrastructure.database.maintenance import PostgresMaintenance
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.sealed_records import PostgresSealedRecords
from tests.support.key_deployment import KeyDeployment, key_deployment


@pytest.fixture
async def deployed(database_url: str, tmp_path: Path) -> AsyncIterator[KeyDeployment]:
    async with key_deployment(database_url, tmp_path) as deployment:
        yield deployment


async def test_records_come_under_the_active_version_and_keep_their_payload(
    deployed: KeyDeployment,
) -> None:
    await deployed.create(20)
    before = deployed.records()
    await deployed.rotate()

    progress = await deployed.reencrypt()

    assert (progress.changed, progress.damaged) == (20, 0)
    assert deployed.versions() == {"v2": 20}
    await deployed.check_every_record_opens()
    for token, record in deployed.records().items():
        assert record.payload == before[token].payload
        assert record.wrapped_dek != before[token].wrapped_dek
        assert record.salt != before[token].salt


async def test_after_a_compromise_the_payload_is_sealed_anew(deployed: KeyDeployment) -> None:
    await deployed.create(10)
    before = deployed.records()
    await deployed.rotate()

    await deployed.reencrypt(payload=True)

    assert deployed.versions() == {"v2": 10}
    await deployed.check_every_record_opens()
    for token, record in deployed.records().items():
        assert record.payload != before[token].payload
        assert record.payload_nonce != before[token].payload_nonce


async def test_a_run_that_was_stopped_goes_on_where_it_stood(deployed: KeyDeployment) -> None:
    await deployed.create(30)
    await deployed.rotate()

    async for progress in deployed.life.reencrypt.run(payload=False, batch_size=7):
        if progress.changed >= 14:
            break
    assert deployed.versions() == {"v1": 16, "v2": 14}
    await deployed.check_every_record_opens()

    assert (await deployed.reencrypt()).changed == 16
    assert deployed.versions() == {"v2": 30}
    await deployed.check_every_record_opens()


async def test_of_several_runs_at_once_each_record_is_changed_by_one(
    deployed: KeyDeployment,
) -> None:
    await deployed.create(60)
    await deployed.rotate()

    runs = await asyncio.gather(*(deployed.reencrypt(batch_size=5) for _ in range(3)))

    assert sum(progress.changed for progress in runs) == 60
    assert deployed.versions() == {"v2": 60}
    await deployed.check_every_record_opens()


async def test_a_rotation_in_the_middle_of_a_run_is_followed(deployed: KeyDeployment) -> None:
    await deployed.create(20)
    await deployed.rotate()
    rotated = False

    async for _ in deployed.life.reencrypt.run(payload=False, batch_size=5):
        if not rotated:
            rotated = True
            await deployed.rotate()

    assert deployed.versions() == {"v3": 20}
    await deployed.check_every_record_opens()


async def test_a_token_that_is_revoked_meanwhile_stays_revoked(deployed: KeyDeployment) -> None:
    (token,) = await deployed.create()
    await deployed.rotate()
    revoking: list[asyncio.Task[bool]] = []

    def change(row: SealedPAN) -> bytes:
        # The batch has read the row by now, and not yet written it.
        revoking.append(asyncio.ensure_future(deployed.store.revoke(row.place.merchant_id, token)))
        return row.sealed + b"anew"

    await deployed.life.records.change_batch("v2", None, 10, change)
    assert await revoking[0]

    rows = deployed.database.execute("SELECT status, sealed_pan, sealed_sad FROM payment_tokens")
    assert rows.fetchall() == [("revoked", None, None)]


async def test_a_record_that_changed_since_it_was_read_stays_as_it_is(
    deployed: KeyDeployment,
) -> None:
    """Even somebody who goes around the row locks loses nothing: the write compares what it found."""
    await deployed.create()
    await deployed.rotate()

    def change(row: SealedPAN) -> bytes:
        object.__setattr__(row, "sealed", b"what was read is not there any more")
        return b"anew"

    batch = await deployed.life.records.change_batch("v2", None, 10, change)

    assert batch.changed == 0
    assert deployed.versions() == {"v1": 1}
    await deployed.check_every_record_opens()


async def test_a_record_that_a_release_holds_is_waited_for_without_holding_up_the_rest(
    deployed: KeyDeployment,
) -> None:
    held, *_ = await deployed.create(10)
    await deployed.rotate()
    with psycopg.connect(deployed.url) as release:
        release.execute("SELECT FROM payment_tokens WHERE token_id = %s FOR SHARE", (held.text,))
        run = deployed.life.reencrypt.run(payload=False, batch_size=20)
        assert (await anext(run)).changed == 9
    assert [progress.changed async for progress in run][-1] == 10


async def test_nothing_comes_under_a_version_that_is_not_active(deployed: KeyDeployment) -> None:
    await deployed.create()
    await deployed.rotate()

    with pytest.raises(InactiveKeyError):
        await deployed.life.records.change_batch("v1", None, 10, lambda row: row.sealed)


DAMAGE = {
    "a flipped bit in the wrapped data key": "set_byte(sealed_pan, 40, 255 - get_byte(sealed_pan, 40))",
    "another row's record": "(SELECT sealed_pan FROM payment_tokens WHERE token_id <> '{token}' LIMIT 1)",
    "junk": "'junk'::bytea",
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_damaged_record_is_counted_left_alone_and_keeps_its_version(
    deployed: KeyDeployment, name: str
) -> None:
    await deployed.create(5)
    (token,) = await deployed.create()
    deployed.database.execute(
        f"UPDATE payment_tokens SET sealed_pan = {DAMAGE[name].format(token=token.text)}"
        f" WHERE token_id = '{token.text}'"
    )
    await deployed.rotate()

    progress = await deployed.reencrypt(batch_size=2)
    done = await deployed.life.reencrypt.finish(progress, payload=False)

    assert (done.changed, done.damaged, done.remaining) == (5, 1, 1)
    with pytest.raises(KeyLifeError, match="1 records are still under v1"):
        await deployed.life.retire(KeyPurpose.SERVICE, "v1")


async def test_a_version_whose_kek_is_lost_keeps_only_its_own_records(
    deployed: KeyDeployment, tmp_path: Path
) -> None:
    await deployed.create(2)
    await deployed.rotate()
    await deployed.create(3)
    (lost,) = [
        version
        for version in await deployed.keys.versions.all(KeyPurpose.SERVICE)
        if version.version == "v2"
    ]
    await deployed.rotate()
    await deployed.keys.custodians.destroy_kek(lost.kek_uri, 7)
    async with key_deployment(deployed.url, tmp_path) as fresh:
        progress = await fresh.reencrypt()

    assert (progress.changed, progress.damaged) == (2, 3)
    assert deployed.versions() == {"v2": 3, "v3": 2}


async def test_a_run_leaves_a_signed_statement(deployed: KeyDeployment) -> None:
    await deployed.create(3)
    await deployed.rotate()

    await deployed.life.reencrypt.finish(await deployed.reencrypt(), payload=True)

    last = (await deployed.keys.versions.history())[-1]
    statement = json.loads(last.statement)
    assert (statement["event"], statement["version"]) == ("re-encrypted", "v2")
    assert statement["details"] == {"rows": 3, "remaining": 0, "what": "payload"}


async def test_one_purge_day_comes_after_the_other_and_none_is_left_out(
    deployed: KeyDeployment,
) -> None:
    for days in (3, 0, 1, 400, 0, 3):
        await deployed.create(3, ttl=timedelta(hours=1, days=days))
    await deployed.rotate()
    days_of_batches: list[set[date]] = []

    def change(row: SealedPAN) -> bytes:
        days_of_batches[-1].add(row.place.token_id.purge_day)
        return row.sealed

    after: RecordPlace | None = None
    while True:
        days_of_batches.append(set())
        batch = await deployed.life.records.change_batch("v2", after, 4, change)
        if batch.last is None:
            break
        after = batch.last

    # Six records of two days each in batches of four, three of the others; the last one finds nothing.
    assert [len(days) for days in days_of_batches] == [1, 1, 1, 1, 1, 1, 0]
    visited = [day for days in days_of_batches for day in days]
    assert visited == sorted(visited)
    assert deployed.versions() == {"v2": 18}


async def test_a_partition_that_is_dropped_meanwhile_holds_up_nothing(
    deployed: KeyDeployment,
) -> None:
    gone, *_ = await deployed.create(5)
    await deployed.create(5, ttl=timedelta(days=2))
    await deployed.rotate()
    run = deployed.life.reencrypt.run(payload=False, batch_size=2)
    await anext(run)

    async with PostgresMaintenance(deployed.url).alone() as tables:
        assert tables is not None
        await tables.drop_partition(gone.purge_day)

    assert [progress.changed async for progress in run][-1] == 7
    assert deployed.versions() == {"v2": 5}


async def test_the_days_are_found_whichever_way_the_catalogue_is_read(
    deployed: KeyDeployment,
) -> None:
    """Under another plan, the names of tables that are no partitions are looked at first."""
    await deployed.create(3)
    await deployed.rotate()
    deployed.database.execute(
        f"ALTER DATABASE {deployed.database.info.dbname} SET enable_nestloop = off"
    )
    async with new_pool(deployed.url) as pool:
        records = PostgresSealedRecords(pool)
        batch = await records.change_batch("v2", None, 10, lambda row: row.sealed)

    assert batch.changed == 3
