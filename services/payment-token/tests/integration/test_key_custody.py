"""Keyrings on PostgreSQL and the development keystore: first versions, epochs, loss, and what must not unwrap."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from payment_token.domain.errors import (
    DatabaseUnavailableError,
    EncryptionKeyOverdueError,
    RecordIntegrityFailureError,
)
from payment_token.domain.key_life.cryptoperiod import Cryptoperiod
from payment_token.domain.key_life.first_keys import FirstKeys
from payment_token.domain.key_life.key_event import verifies
from payment_token.domain.key_life.version import KeyPurpose
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.local_keystore import KEK_ALGORITHM, LocalKeystore
from payment_token.infrastructure.database.epoch_keys import PostgresEpochKeys, epoch_of
from payment_token.infrastructure.database.key_versions import PostgresKeyVersions
from payment_token.infrastructure.database.pool import Pool, new_pool
from payment_token.infrastructure.keyring import Keyring
from payment_token.infrastructure.sad_epoch_keyring import SADEpochKeyring
from payment_token.settings import ConfigurationError, Environment
from tests.support.audit_logs import unaudited


class SetClock:
    """A clock that the test sets; the database's own decides what is dead."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time


@dataclass
class Custody:
    pool: Pool
    keystore: LocalKeystore
    clock: SetClock
    url: str

    @property
    def versions(self) -> PostgresKeyVersions:
        return PostgresKeyVersions(self.pool)

    async def first_keys(self, environment: str = "test") -> None:
        first = FirstKeys(
            versions=self.versions,
            encrypter=self.keystore,
            clock=self.clock,
            changes=unaudited(),
            environment=environment,
        )
        await first("v1", "local:kek")

    def keyring(
        self, purpose: KeyPurpose = KeyPurpose.SERVICE, environment: str = "test"
    ) -> Keyring:
        period = Cryptoperiod(timedelta(days=90), timedelta(days=14))
        return Keyring(purpose, self.versions, self.keystore, self.clock, environment, period)

    def epochs(self, sad_ttl: timedelta = timedelta(hours=1)) -> SADEpochKeyring:
        return SADEpochKeyring(
            PostgresEpochKeys(self.pool),
            self.keystore,
            self.clock,
            kek_uri=self._kek_uri,
            environment="test",
            sad_ttl=sad_ttl,
            epoch=timedelta(hours=1),
        )

    async def _kek_uri(self) -> str:
        return "local:kek"

    def run(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as database:
            cursor = database.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
async def custody(database_url: str, tmp_path: Path) -> AsyncIterator[Custody]:
    keystore = LocalKeystore.create(tmp_path / "store", tmp_path / "key", Environment.TEST)
    keystore.import_key("kek", KEK_ALGORITHM, SecretKey(bytes(32)))
    async with new_pool(database_url) as pool:
        yield Custody(pool, keystore, SetClock(), database_url)


async def test_processes_that_start_together_agree_on_the_first_version(custody: Custody) -> None:
    await asyncio.gather(*(custody.first_keys() for _ in range(5)))

    keys = [await custody.keyring().active() for _ in range(5)]
    assert {key.name for key in keys} == {"v1"}
    assert all(key.key == keys[0].key for key in keys)
    assert custody.run("SELECT count(*) FROM encryption_keys") == [(len(KeyPurpose),)]


async def test_the_history_of_a_deployment_begins_with_its_first_keys(custody: Custody) -> None:
    await custody.first_keys()

    signing = next(
        version
        for version in await custody.versions.all()
        if version.purpose is KeyPurpose.AUDIT_SIGNING
    )
    history = await custody.versions.history()
    assert [json.loads(signed.statement)["event"] for signed in history] == [
        "created",
        "activated",
    ] * len(KeyPurpose)
    assert all(verifies(signed, signing.public_key or b"") for signed in history)


async def test_service_and_index_keys_differ(custody: Custody) -> None:
    await custody.first_keys()
    service, index = custody.keyring(), custody.keyring(KeyPurpose.INDEX)

    assert (await service.active()).key != (await index.active()).key


async def test_a_wrapped_key_of_another_purpose_or_environment_does_not_unwrap(
    custody: Custody,
) -> None:
    await custody.first_keys()
    custody.run(
        "UPDATE encryption_keys SET wrapped_key ="
        " (SELECT wrapped_key FROM encryption_keys WHERE purpose = 'index') WHERE purpose = 'service'"
    )

    with pytest.raises(RecordIntegrityFailureError):
        await custody.keyring().active()
    with pytest.raises(RecordIntegrityFailureError):
        await custody.keyring(KeyPurpose.INDEX, environment="production").active()


async def test_without_an_active_version_nothing_is_sealed(custody: Custody) -> None:
    keyring = custody.keyring()
    await custody.first_keys()
    custody.run("UPDATE encryption_keys SET state = 'decrypt-only'")

    with pytest.raises(EncryptionKeyOverdueError):
        await keyring.active()
    assert (await keyring.named("v1")) is not None


async def test_a_destroyed_version_is_gone(custody: Custody) -> None:
    await custody.first_keys()
    custody.run("UPDATE encryption_keys SET state = 'destroyed'")

    assert await custody.keyring().named("v1") is None


async def test_processes_share_the_key_of_an_epoch(custody: Custody) -> None:
    first, second = custody.epochs(), custody.epochs()

    key = await first.active()

    assert (await second.active()).name == key.name
    assert (await second.named(key.name)) == key


async def test_a_new_epoch_has_a_new_key_and_the_old_one_still_opens(custody: Custody) -> None:
    epochs = custody.epochs()
    old = await epochs.active()
    custody.clock.time += timedelta(hours=1)

    new = await epochs.active()

    assert new.name != old.name
    assert (await epochs.named(old.name)) == old


async def test_an_epoch_key_dies_in_memory_at_its_hour(custody: Custody) -> None:
    epochs = custody.epochs(sad_ttl=timedelta(seconds=10))
    key = await epochs.active()
    _, ends_at = epoch_of(custody.clock.now(), timedelta(hours=1))
    dies_at = ends_at + timedelta(seconds=10)

    custody.clock.time = dies_at - timedelta(microseconds=1)
    assert await epochs.named(key.name) is not None
    custody.run(
        f"UPDATE sad_epoch_keys SET dies_at = clock_timestamp() WHERE epoch_key_id = '{key.name}'"
    )
    custody.clock.time = dies_at

    assert await epochs.named(key.name) is None
    await epochs.remove_dead()
    assert custody.run("SELECT * FROM sad_epoch_keys") == []


async def test_a_dead_key_is_wiped_although_the_database_is_away(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = custody.epochs()
    key = await epochs.active()

    async def away() -> list[object]:
        raise DatabaseUnavailableError

    monkeypatch.setattr(epochs._keys, "live", away)
    custody.clock.time += timedelta(hours=3)
    with pytest.raises(DatabaseUnavailableError):
        await epochs.refresh()

    with pytest.raises(ValueError, match="wiped"):
        key.key.reveal()


async def test_a_dump_that_reads_the_table_holds_up_nobody(custody: Custody) -> None:
    epochs = custody.epochs(sad_ttl=timedelta(seconds=10))
    await epochs.active()
    custody.run("UPDATE sad_epoch_keys SET dies_at = clock_timestamp(), epoch_key_id = 'dead'")
    with psycopg.connect(custody.url) as dump:
        dump.execute("LOCK TABLE sad_epoch_keys IN ACCESS SHARE MODE")
        await epochs.remove_dead()
        await custody.epochs().active()
        assert len(custody.run("SELECT * FROM sad_epoch_keys")) == 2

    await epochs.remove_dead()
    assert custody.run("SELECT * FROM sad_epoch_keys WHERE epoch_key_id = 'dead'") == []


async def test_a_key_that_is_asked_for_during_a_write_back_does_no_harm(custody: Custody) -> None:
    epochs = custody.epochs()
    key = await epochs.active()
    custody.clock.time += timedelta(hours=1)
    await epochs.active()
    custody.run("TRUNCATE sad_epoch_keys")

    await asyncio.gather(
        epochs.refresh(), epochs.active(), epochs.named(key.name), epochs.refresh()
    )

    assert len(custody.run("SELECT * FROM sad_epoch_keys")) == 2


async def test_a_table_that_a_crash_emptied_is_filled_again(custody: Custody) -> None:
    survivor = custody.epochs()
    key = await survivor.active()
    custody.run("TRUNCATE sad_epoch_keys")

    await survivor.refresh()

    newcomer = custody.epochs()
    assert await newcomer.named(key.name) == key


async def test_a_newcomer_waits_for_a_survivor_to_write_back(custody: Custody) -> None:
    survivor = custody.epochs()
    key = await survivor.active()
    custody.run("TRUNCATE sad_epoch_keys")

    async def later() -> None:
        await asyncio.sleep(0.5)
        await survivor.refresh()

    found, _ = await asyncio.gather(custody.epochs().named(key.name), later())

    assert found == key


async def test_a_row_that_was_tampered_with_keeps_nobody_from_the_other_keys(
    custody: Custody,
) -> None:
    good = await custody.epochs().active()
    custody.run(
        "INSERT INTO sad_epoch_keys SELECT 'forged', kms_key_id, wrapped_key, environment, starts_at, ends_at, dies_at"
        " FROM sad_epoch_keys"
    )
    newcomer = custody.epochs()

    assert (await newcomer.active()) == good
    assert await newcomer.named("forged") is None


async def test_a_dead_key_is_not_written_back(custody: Custody) -> None:
    epochs = custody.epochs()
    key = await epochs.active()
    custody.run("TRUNCATE sad_epoch_keys")
    custody.clock.time += timedelta(hours=3)

    await epochs.refresh()

    assert custody.run("SELECT * FROM sad_epoch_keys") == []
    assert await epochs.named(key.name) is None


def test_the_keystore_is_refused_in_production(tmp_path: Path) -> None:
    LocalKeystore.create(tmp_path / "store", tmp_path / "key", Environment.DEVELOPMENT)

    with pytest.raises(ConfigurationError, match="refused in production"):
        LocalKeystore(tmp_path / "store", tmp_path / "key", Environment.PRODUCTION)


def test_keystore_entries_cannot_be_renamed_or_opened_with_another_key(tmp_path: Path) -> None:
    store = LocalKeystore.create(tmp_path / "store", tmp_path / "key", Environment.TEST)
    store.import_key("one", KEK_ALGORITHM, SecretKey(b"\x11" * 32))
    text = (tmp_path / "store").read_text()
    assert "11" * 32 not in text

    (tmp_path / "store").write_text(text.replace('"one"', '"two"'))
    with pytest.raises(ConfigurationError, match="not open two"):
        LocalKeystore(tmp_path / "store", tmp_path / "key", Environment.TEST).check()

    (tmp_path / "store").write_text(text)
    (tmp_path / "key").write_text("ab" * 32)
    with pytest.raises(ConfigurationError, match="does not open one"):
        LocalKeystore(tmp_path / "store", tmp_path / "key", Environment.TEST).check()


def test_keystore_files_are_private(tmp_path: Path) -> None:
    store = LocalKeystore.create(tmp_path / "store", tmp_path / "key", Environment.TEST)
    store.import_key("one", KEK_ALGORITHM, SecretKey(bytes(32)))

    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("store", "key")] == [0o600, 0o600]
    with pytest.raises(ConfigurationError, match="already"):
        store.import_key("one", KEK_ALGORITHM, SecretKey(bytes(32)))
