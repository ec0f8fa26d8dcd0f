"""After an epoch's death nothing opens its SAD: no dump, no data folder, no write-ahead log, with every live key."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import class_row

from payment_token.bootstrap.keys import Keys
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.errors import RecordIntegrityFailureError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.key_life.version import key_context
from payment_token.domain.keys import NamedKey
from payment_token.domain.sealing import Binding, Purpose, SealedRecord, open_record
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.embedded import EmbeddedServer, find_binaries
from payment_token.infrastructure.database.epoch_keys import WrappedEpochKey
from payment_token.infrastructure.database.pool import new_pool
from tests.support.audit_logs import unaudited
from tests.support.deployment import MERCHANT, Deployment, RunningService

LIVES = {"SAD_TTL_SECONDS": "5", "SAD_EPOCH_SECONDS": "5"}


@dataclass(frozen=True)
class SealedSAD:
    """What the database held while the SAD was alive: more than a thief of a later backup has."""

    token_id: TokenId
    deadline: object
    record: bytes
    epoch_keys: list[WrappedEpochKey]


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment.made_in(tmp_path / "deployment")


def test_nothing_opens_dead_sad(deployment: Deployment, tmp_path: Path) -> None:
    with EmbeddedServer(deployment.folder) as server, deployment.serving(**LIVES) as service:
        token = created(service, deployment)
        sealed = sealed_sad(server.url, token)
        clear = {key.epoch_key_id: unwrapped(deployment, key) for key in sealed.epoch_keys}
        # Alive, it opens: the search below looks for the right bytes.
        assert opens(deployment, sealed, list(clear.values()))

        wait_for_death(server.url, sealed)
        survivors = live_keys(deployment, server.url)
        dump = subprocess.run(
            [find_binaries() / "pg_dump", server.url], capture_output=True, check=True
        ).stdout
        released = release(service, token)

    assert released["sad_status"] == "expired"
    assert released["sad"] is None
    assert not opens(deployment, sealed, survivors)
    # The server has ended: its data folder, write-ahead log included, is as a thief of the disk finds it.
    images = {"the dump": dump} | {
        str(path): path.read_bytes() for path in deployment.folder.rglob("*") if path.is_file()
    }
    assert any("pg_wal" in name for name in images)
    assert any(sealed.record in image for image in images.values()), "the search finds nothing"
    for wrapped in sealed.epoch_keys:
        for secret in (wrapped.wrapped_key, clear[wrapped.epoch_key_id].key.reveal()):
            for name, image in images.items():
                assert secret not in image, f"an epoch key is in {name}"
                assert secret.hex().encode() not in image, f"an epoch key is in {name}"


def created(service: RunningService, deployment: Deployment) -> str:
    with service.public() as pos:
        answer = service.create(pos, deployment.body())
    token: str = answer.json()["payment_token"]
    assert release(service, token)["sad"]["track2"] == PUBLISHED_CARDS[0].track2
    return token


def release(service: RunningService, token: str) -> dict[str, object]:
    with service.worker() as worker:
        answer = service.release(worker, token, fields=["pan", "sad"])
    data: dict[str, object] = answer.json()["payment_data"]
    assert data["pan"] == PUBLISHED_CARDS[0].pan
    return data


def sealed_sad(url: str, token: str) -> SealedSAD:
    with psycopg.connect(url) as database:
        row = database.execute(
            "SELECT sealed_sad, sad_deadline FROM payment_tokens WHERE token_id = %s", (token,)
        ).fetchone()
        assert row is not None
        cursor = database.cursor(row_factory=class_row(WrappedEpochKey))
        epoch_keys = cursor.execute("SELECT * FROM sad_epoch_keys").fetchall()
    return SealedSAD(TokenId.parse(token), row[1], row[0], epoch_keys)


def unwrapped(deployment: Deployment, key: WrappedEpochKey) -> NamedKey:
    context = key_context("sad-epoch", key.epoch_key_id, key.environment)
    clear = deployment.with_custodians(
        lambda custodians: custodians.unwrap_key(key.kms_key_id, key.wrapped_key, context)
    )
    return NamedKey(key.epoch_key_id, clear)


def wait_for_death(url: str, sealed: SealedSAD) -> None:
    """The service itself removes the dead keys; nobody helps it here."""
    names = [key.epoch_key_id for key in sealed.epoch_keys]
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as database:
        while database.execute(
            "SELECT FROM sad_epoch_keys WHERE epoch_key_id = ANY (%s)", (names,)
        ).rowcount:
            assert time.monotonic() < deadline, "the epoch key does not die"
            time.sleep(0.1)
        database.execute("CHECKPOINT")


def live_keys(deployment: Deployment, url: str) -> list[NamedKey]:
    """Every key that anybody with all of the custodian's permissions could unwrap now."""

    async def read(custodians: object) -> list[NamedKey]:
        async with new_pool(url) as pool:
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with Keys.opened(deployment.settings, pool, clock, unaudited()) as keys:
                await keys.epochs.refresh()
                rings = [await ring.opening() for ring in keys.rings.values()]
                epochs = [
                    await keys.epochs.named(key.epoch_key_id)
                    for key in await keys.epoch_store.live()
                ]
        found = [key for ring in rings for key in ring.values()]
        return found + [key for key in epochs if key is not None]

    return deployment.with_custodians(read)


def opens(deployment: Deployment, sealed: SealedSAD, keys: list[NamedKey]) -> bool:
    """Whether any of the keys opens it, under whatever name."""
    record = SealedRecord.from_bytes(sealed.record)
    binding = Binding(
        Purpose.SAD,
        MerchantId(MERCHANT),
        sealed.token_id,
        deployment.settings.environment.value,
        sealed.deadline,  # type: ignore[arg-type]
    )
    for key in keys:
        try:
            open_record(record, NamedKey(record.key_name, key.key), binding)
        except RecordIntegrityFailureError:
            continue
        return True
    return False
