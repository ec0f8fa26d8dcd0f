"""The life of a version on PostgreSQL: rotation, retirement, destruction, their order, and what ends half-way."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from payment_token.bootstrap.keys import Keys
from payment_token.domain.errors import (
    EncryptionKeyOverdueError,
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.destroy_key import Destruction
from payment_token.domain.key_life.key_event import verifies
from payment_token.domain.key_life.version import KeyLifeError, KeyPurpose, KeyState
from payment_token.domain.ports import InactiveKeyError
from payment_token.infrastructure.database import key_versions
from payment_token.infrastructure.database.key_holders import PostgresKeyHolders
from payment_token.infrastructure.database.pool import new_pool
from tests.support.audit_logs import unaudited
from tests.support.key_deployment import KeyDeployment, key_deployment
from tests.support.tokens import new_token

SERVICE, INDEX, SIGNING = KeyPurpose.SERVICE, KeyPurpose.INDEX, KeyPurpose.AUDIT_SIGNING


@pytest.fixture
async def deployed(database_url: str, tmp_path: Path) -> AsyncIterator[KeyDeployment]:
    async with key_deployment(database_url, tmp_path) as deployment:
        yield deployment


async def destroyed(deployed: KeyDeployment, version: str = "v1") -> Destruction:
    await deployed.reencrypt()
    await deployed.life.retire(SERVICE, version)
    return await deployed.life.destroy(SERVICE, version, waiting_days=7)


# --- Rotation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", KeyPurpose)
async def test_a_new_version_takes_over_and_the_old_one_still_opens(
    deployed: KeyDeployment, purpose: KeyPurpose
) -> None:
    ring = deployed.keys.rings[purpose]
    old = await ring.active()

    assert await deployed.rotate(purpose) == "v2"

    ring.forget_active()
    assert (await ring.active()).name == "v2"
    assert (await ring.active()).key != old.key
    assert (await ring.named("v1")) == old
    assert await deployed.state("v1", purpose) is KeyState.DECRYPT_ONLY


async def test_each_version_has_a_kek_of_its_own(deployed: KeyDeployment) -> None:
    await deployed.rotate()
    await deployed.rotate()

    keks = [version.kek_uri for version in await deployed.keys.versions.all(SERVICE)]
    assert len(set(keks)) == 3
    with pytest.raises(KeyLifeError, match="another one has this KEK"):
        await deployed.life.rotate(SERVICE, kek_uri=keks[0])
    with pytest.raises(KeyLifeError, match="another one has this KEK"):
        await deployed.life.rotate(INDEX, kek_uri=keks[2])


async def test_the_database_holds_one_active_version_whatever_happens(
    deployed: KeyDeployment,
) -> None:
    await deployed.rotate()

    with pytest.raises(psycopg.errors.UniqueViolation):
        deployed.database.execute("UPDATE encryption_keys SET state = 'active'")


async def test_a_rotation_waits_for_every_running_process(
    deployed: KeyDeployment,
) -> None:
    async with new_pool(deployed.url) as pool:
        other = PostgresKeyHolders(pool)
        await other.renew(["service:v1"])

        with pytest.raises(
            KeyLifeError, match=r"v2 stays pending: process \d+ on .* cannot use it"
        ):
            await deployed.life.rotate(SERVICE, patience_seconds=0.3)
        assert (await deployed.keys.service.active()).name == "v1"

        rotating = asyncio.ensure_future(deployed.rotate())
        await asyncio.sleep(0.3)
        assert not rotating.done()
        await other.renew(["service:v1", "service:v2"])
        assert await rotating == "v2"


async def test_a_process_that_died_is_waited_for_until_its_lease_ends(
    deployed: KeyDeployment,
) -> None:
    async with new_pool(deployed.url) as pool:
        await PostgresKeyHolders(pool).renew(["service:v1"])
    deployed.database.execute("UPDATE key_holders SET lease_until = clock_timestamp()")

    assert await deployed.rotate() == "v2"


async def test_of_two_rotations_at_once_one_wins_and_no_kek_is_left_behind(
    deployed: KeyDeployment,
) -> None:
    results = await asyncio.gather(
        *(deployed.life.rotate(SERVICE) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["KeyLifeError", "Rotated"]
    versions = await deployed.keys.versions.all(SERVICE)
    assert [version.state for version in versions] == [KeyState.DECRYPT_ONLY, KeyState.ACTIVE]
    keystore = json.loads(deployed.settings.local_keystore_file.read_text())
    assert len(keystore["keys"]) == 2


async def test_a_pending_version_of_no_use_is_retired_and_the_next_one_made(
    deployed: KeyDeployment,
) -> None:
    async with new_pool(deployed.url) as pool:
        await PostgresKeyHolders(pool).renew([])
        with pytest.raises(KeyLifeError, match="stays pending"):
            await deployed.life.rotate(SERVICE, patience_seconds=0)
    with pytest.raises(KeyLifeError, match="v2 is pending already"):
        await deployed.life.rotate(SERVICE, kek_uri="local:another")

    await deployed.life.retire(SERVICE, "v2")
    deployed.database.execute("DELETE FROM key_holders")

    assert await deployed.rotate() == "v3"


async def test_a_kek_that_is_not_there_leaves_nothing_behind(deployed: KeyDeployment) -> None:
    with pytest.raises(KeyCustodianRefusedError) as refusal:
        await deployed.life.rotate(SERVICE, kek_uri="local:nowhere")

    assert "no key nowhere" in refusal.value.advice
    assert [version.version for version in await deployed.keys.versions.all(SERVICE)] == ["v1"]


# --- Writers and the end of a version -------------------------------------------------------------------------------


async def test_a_record_sealed_before_a_rotation_is_not_written_after_it(
    deployed: KeyDeployment,
) -> None:
    new = new_token(deployed.keys.clock.now(), service_key="v1")
    await deployed.rotate()

    with pytest.raises(InactiveKeyError):
        await deployed.store.create(new)

    await deployed.rotate(INDEX)
    by_old_index = new_token(deployed.keys.clock.now(), service_key="v2")
    with pytest.raises(InactiveKeyError):
        await deployed.store.create(by_old_index)
    assert deployed.versions() == {}


async def test_a_writer_at_work_keeps_its_version_until_it_has_committed(
    deployed: KeyDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_versions, "_LOCK_ATTEMPTS", 1)
    with psycopg.connect(deployed.url) as writer:
        writer.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('service-key:v1', 0))")

        with pytest.raises(KeyLifeError, match="a writer under v1 does not end"):
            await deployed.rotate()
        assert (await deployed.keys.service.active()).name == "v1"
        # Others write on meanwhile.
        await deployed.create()

    assert await deployed.rotate() == "v2"


async def test_the_end_of_a_version_keeps_writers_out_until_it_is_committed(
    deployed: KeyDeployment,
) -> None:
    shared = "SELECT pg_try_advisory_xact_lock_shared(hashtextextended('service-key:v1', 0))"

    async with deployed.keys.versions._with_writers_out(SERVICE, "v1"):
        assert deployed.database.execute(shared).fetchone() == (False,)
    assert deployed.database.execute(shared).fetchone() == (True,)


async def test_retiring_counts_what_remains(deployed: KeyDeployment) -> None:
    await deployed.create(3)
    with pytest.raises(KeyLifeError, match="v1 is active: rotate first"):
        await deployed.life.retire(SERVICE, "v1")
    await deployed.rotate()

    with pytest.raises(KeyLifeError, match="3 records are still under v1"):
        await deployed.life.retire(SERVICE, "v1")
    assert await deployed.state("v1") is KeyState.DECRYPT_ONLY

    await deployed.reencrypt()
    await deployed.life.retire(SERVICE, "v1")
    assert await deployed.keys.service.named("v1") is not None  # until the next refresh
    await deployed.keys.service.refresh()
    assert await deployed.keys.service.named("v1") is None
    with pytest.raises(KeyLifeError, match="v1 was retired before"):
        await deployed.life.retire(SERVICE, "v1")
    with pytest.raises(KeyLifeError, match="there is no service key v9"):
        await deployed.life.retire(SERVICE, "v9")


async def test_an_index_key_is_kept_as_long_as_an_idempotency_key_needs_it(
    deployed: KeyDeployment,
) -> None:
    await deployed.create(2)
    await deployed.rotate(INDEX)

    with pytest.raises(KeyLifeError, match="2 idempotency keys are still remembered under v1"):
        await deployed.life.retire(INDEX, "v1")

    deployed.database.execute("UPDATE token_idempotency_keys SET expires_at = clock_timestamp()")
    await deployed.life.retire(INDEX, "v1")


async def test_a_revoked_token_needs_no_key(deployed: KeyDeployment) -> None:
    (token,) = await deployed.create()
    await deployed.rotate()
    await deployed.store.revoke("m_1", token)  # type: ignore[arg-type]

    await deployed.life.retire(SERVICE, "v1")


# --- Destruction ----------------------------------------------------------------------------------------------------


async def test_destruction_ends_the_kek_and_leaves_a_signed_statement(
    deployed: KeyDeployment,
) -> None:
    await deployed.create(4)
    (old,) = await deployed.keys.versions.all(SERVICE)
    await deployed.rotate()

    done = await destroyed(deployed)

    assert done.due_at is None
    statement = json.loads(done.statement.statement)
    assert (statement["event"], statement["version"]) == ("destroyed", "v1")
    assert statement["details"] == {"kek": "local:kek", "rows": 0}
    (signing,) = await deployed.keys.versions.all(SIGNING)
    assert verifies(done.statement, signing.public_key or b"")
    assert await deployed.state("v1") is KeyState.DESTROYED
    # A copy of the wrapped key, from a backup, is of no use any more.
    with pytest.raises(KeyCustodianRefusedError):
        await deployed.keys.custodians.unwrap_key(old.kek_uri, old.wrapped_key or b"", old.context)
    await deployed.check_every_record_opens()


async def test_what_lived_under_the_kek_moves_before_it_goes(deployed: KeyDeployment) -> None:
    """The first versions of all keys are under one KEK, and the SAD of the last hour is too."""
    index = await deployed.keys.index.active()
    epoch = await deployed.keys.epochs.active()
    await deployed.rotate()

    await destroyed(deployed)

    async with key_deployment(deployed.url, deployed.settings.local_keystore_file.parent) as fresh:
        assert (await fresh.keys.index.active()) == index
        assert (await fresh.keys.epochs.named(epoch.name)) == epoch
        await fresh.keys.rings[SIGNING].active()
        keks = {
            version.kek_uri for version in await fresh.keys.versions.all() if version.state.opens
        }
        assert "local:kek" not in keks


async def test_only_a_retired_version_is_destroyed(deployed: KeyDeployment) -> None:
    for _ in range(2):
        with pytest.raises(KeyLifeError, match="retire it first"):
            await deployed.life.destroy(SERVICE, "v1", waiting_days=7)
        await deployed.rotate()
    await destroyed(deployed)
    with pytest.raises(KeyLifeError, match="v1 was destroyed before"):
        await deployed.life.destroy(SERVICE, "v1", waiting_days=7)


async def test_a_record_that_came_back_under_a_retired_version_stops_the_destruction(
    deployed: KeyDeployment,
) -> None:
    """For example from a backup of one table, or by hand."""
    await deployed.create()
    await deployed.rotate()
    await deployed.reencrypt()
    await deployed.life.retire(SERVICE, "v1")
    deployed.database.execute("UPDATE payment_tokens SET service_key = 'v1'")

    with pytest.raises(KeyLifeError, match="1 records are under v1"):
        await deployed.life.destroy(SERVICE, "v1", waiting_days=7)


async def test_a_destruction_that_was_cut_off_goes_on(deployed: KeyDeployment) -> None:
    """The custodian has destroyed the KEK, and the process died before it could say so."""
    await deployed.rotate()
    await deployed.life.retire(SERVICE, "v1")
    for version in await deployed.keys.versions.all():
        if version.kek_uri == "local:kek" and version.purpose is not SERVICE:
            await deployed.life.destroy._move(version, (await active_kek(deployed)))
    await deployed.keys.custodians.destroy_kek("local:kek", 7)

    done = await deployed.life.destroy(SERVICE, "v1", waiting_days=7)

    assert done.due_at is None
    assert await deployed.state("v1") is KeyState.DESTROYED


async def active_kek(deployed: KeyDeployment) -> str:
    deployed.keys.service.forget_active()
    return (await deployed.keys.service.active_version()).kek_uri


async def test_the_history_cannot_be_changed(deployed: KeyDeployment) -> None:
    for statement in (
        "UPDATE key_events SET statement = ''",
        "DELETE FROM key_events",
        "TRUNCATE key_events",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            deployed.database.execute(statement)


# --- The cryptoperiod -----------------------------------------------------------------------------------------------


async def aged(deployed: KeyDeployment, days: int, purpose: KeyPurpose = SERVICE) -> None:
    deployed.database.execute(
        "UPDATE encryption_keys SET activated_at = clock_timestamp() - make_interval(days => %s)"
        " WHERE purpose = %s",
        (days, purpose),
    )
    deployed.keys.rings[purpose].forget_active()


async def test_an_overdue_key_seals_nothing_more_but_opens_until_it_is_rotated(
    deployed: KeyDeployment,
) -> None:
    await deployed.create()
    await aged(deployed, 103)
    await deployed.create()
    await aged(deployed, 104)

    with pytest.raises(EncryptionKeyOverdueError):
        await deployed.create()
    await deployed.check_every_record_opens()

    await deployed.rotate()
    deployed.keys.service.forget_active()
    await deployed.create()
    assert deployed.versions() == {"v1": 2, "v2": 1}


async def test_an_overdue_index_key_stops_new_tokens(deployed: KeyDeployment) -> None:
    await aged(deployed, 104, INDEX)
    with pytest.raises(EncryptionKeyOverdueError):
        await deployed.keys.index.active()


async def test_an_overdue_signing_key_signs_its_own_rotation(deployed: KeyDeployment) -> None:
    await aged(deployed, 1000, SIGNING)

    assert await deployed.rotate(SIGNING) == "v2"

    versions = {
        key.version: key.public_key or b"" for key in await deployed.keys.versions.all(SIGNING)
    }
    for signed in await deployed.keys.versions.history():
        assert verifies(signed, versions[signed.signing_key])


async def test_a_lost_signing_key_is_replaced_by_one_that_signs_its_own_beginning(
    deployed: KeyDeployment,
) -> None:
    custodians = deployed.keys.custodians
    for name in ("signing-1", "signing-2"):
        await custodians.make_kek("local:kek", name)
    await deployed.life.rotate(SIGNING, kek_uri="local:signing-1")
    with pytest.raises(KeyLifeError, match="the audit signing key v2 opens: rotate it"):
        await deployed.life.replace_lost_signing_key("local:signing-2")
    await custodians.destroy_kek("local:signing-1", 7)
    async with key_deployment(deployed.url, deployed.settings.local_keystore_file.parent) as fresh:
        with pytest.raises(KeyCustodianRefusedError):
            await fresh.rotate()

        new = await fresh.life.replace_lost_signing_key("local:signing-2")
        fresh.keys.rings[SIGNING].forget_active()

        assert await fresh.rotate() == "v2"
        public = {
            key.version: key.public_key or b"" for key in await fresh.keys.versions.all(SIGNING)
        }
        history = await fresh.keys.versions.history()
        assert all(verifies(signed, public[signed.signing_key]) for signed in history)
        first, *_ = [each for each in history if each.signing_key == new.version]
        assert json.loads(first.statement)["details"]["instead_of_lost"] == "v2"


# --- What must not open ---------------------------------------------------------------------------------------------


async def test_where_no_version_is_active_the_next_one_takes_over(deployed: KeyDeployment) -> None:
    """As a recovery leaves it whose restored state had a version active that was destroyed since."""
    deployed.database.execute(
        "UPDATE encryption_keys SET state = 'destroyed', wrapped_key = NULL WHERE version = 'v1'"
    )
    keystore = deployed.keys.custodians
    await keystore.make_kek("local:kek", "signing-2")
    signing = await deployed.life.replace_lost_signing_key("local:signing-2")

    deployed.keys.rings[KeyPurpose.AUDIT_SIGNING].forget_active()
    rotated = [await deployed.rotate(purpose) for purpose in (SERVICE, KeyPurpose.INDEX)]

    assert (signing.version, rotated) == ("v2", ["v2", "v2"])
    for ring in (deployed.keys.service, deployed.keys.index):
        ring.forget_active()
        assert (await ring.active()).name == "v2"


async def test_wrapped_keys_that_were_exchanged_are_refused_and_alarmed(
    deployed: KeyDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    await deployed.create()
    await deployed.rotate()
    first, second = await deployed.keys.versions.all(SERVICE)
    for version, other in ((first, second), (second, first)):
        deployed.database.execute(
            "UPDATE encryption_keys SET wrapped_key = %s, kms_key_id = %s"
            " WHERE purpose = 'service' AND version = %s",
            (other.wrapped_key, other.kek_uri, version.version),
        )

    async with key_deployment(deployed.url, deployed.settings.local_keystore_file.parent) as fresh:
        for version in ("v1", "v2"):
            with pytest.raises(RecordIntegrityFailureError):
                await fresh.keys.service.named(version)
    alarms = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert {record.__dict__["version"] for record in alarms} == {"v1", "v2"}


async def test_a_key_of_another_environment_is_refused(
    deployed: KeyDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether its row says so, or was edited to say otherwise: the wrapped key itself is bound."""
    for environment in ("production", "test"):
        deployed.database.execute(
            "UPDATE encryption_keys SET environment = %s WHERE purpose = 'service'", (environment,)
        )
        if environment == "test":
            (version,) = await deployed.keys.versions.all(SERVICE)
            clear = await deployed.keys.service.named("v1")
            assert clear is not None
            wrapped = await deployed.keys.custodians.wrap_key(
                "local:kek", clear.key, {**version.context, "environment": "production"}
            )
            deployed.database.execute(
                "UPDATE encryption_keys SET wrapped_key = %s WHERE purpose = 'service'", (wrapped,)
            )
        folder = deployed.settings.local_keystore_file.parent
        async with key_deployment(deployed.url, folder) as fresh:
            with pytest.raises(RecordIntegrityFailureError):
                await fresh.keys.service.active()
    assert any(record.levelname == "CRITICAL" for record in caplog.records)


async def test_a_record_under_a_destroyed_key_is_an_integrity_failure_not_a_crash(
    deployed: KeyDeployment,
) -> None:
    (token,) = await deployed.create()
    (old,) = deployed.database.execute("SELECT sealed_pan FROM payment_tokens").fetchone() or (b"",)
    await deployed.rotate()
    await destroyed(deployed)
    deployed.database.execute(
        "UPDATE payment_tokens SET sealed_pan = %s, service_key = 'v1' WHERE token_id = %s",
        (old, token.text),
    )

    await deployed.keys.service.refresh()

    assert await deployed.keys.service.named("v1") is None


# --- A custodian that is away ---------------------------------------------------------------------------------------


async def test_keys_in_memory_outlive_an_outage_of_the_custodian(
    deployed: KeyDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await deployed.keys.service.active()

    async def away(*_: object) -> None:
        raise KeyCustodianUnavailableError

    monkeypatch.setattr(deployed.keys.custodians, "unwrap_key", away)
    await deployed.keys.service.refresh()
    assert await deployed.keys.service.active() == key

    async with (
        new_pool(deployed.url) as pool,
        Keys.opened(deployed.settings, pool, deployed.keys.clock, unaudited()) as cold,
    ):
        monkeypatch.setattr(cold.custodians, "unwrap_key", away)
        with pytest.raises(KeyCustodianUnavailableError):
            await cold.service.named("v1")
