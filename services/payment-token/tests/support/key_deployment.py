"""The keys of a deployment on a real database and a keystore of its own, without any process that serves."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from payment_token.bootstrap.key_life import KeyLife
from payment_token.bootstrap.keys import Keys
from payment_token.domain.counter_window import CounterVerdict
from payment_token.domain.key_life.audited_changes import AuditedKeyChanges
from payment_token.domain.key_life.reencrypt_records import Progress
from payment_token.domain.key_life.version import KeyPurpose, KeyState
from payment_token.domain.sealing import Binding, Purpose, SealedRecord, open_record, seal
from payment_token.domain.sensitive import SecretKey, SensitiveBytes
from payment_token.domain.token_id import TokenId
from payment_token.infrastructure.custody.local_keystore import KEK_ALGORITHM, LocalKeystore
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.token_store import PostgresTokenStore
from payment_token.settings import Environment, Settings
from tests.support.audit_logs import RECORDER, audit_log_of
from tests.support.tokens import new_token

WINDOW = timedelta(hours=24)


@dataclass
class KeyDeployment:
    """``tokens`` maps each token that was created to the plaintext that was sealed."""

    keys: Keys
    life: KeyLife
    store: PostgresTokenStore
    database: psycopg.Connection
    settings: Settings
    url: str
    tokens: dict[str, bytes]

    async def create(self, count: int = 1, ttl: timedelta = timedelta(hours=1)) -> list[TokenId]:
        """Tokens with a record under the active version, written as the service writes them."""
        made = []
        self.keys.service.forget_active()
        for _ in range(count):
            key = await self.keys.service.active()
            new = new_token(datetime.now(UTC), ttl=ttl, service_key=key.name)
            token, plaintext = new.stored.token, os.urandom(40)
            sealed = seal(
                SensitiveBytes(plaintext),
                key,
                Binding(Purpose.PAN, token.merchant_id, token.token_id, "test", token.expires_at),
                os.urandom,
            )
            stored = replace(new.stored, sealed_pan=sealed)
            assert await self.store.create(replace(new, stored=stored)) is CounterVerdict.FRESH
            self.tokens[token.token_id.text] = plaintext
            made.append(token.token_id)
        return made

    async def rotate(self, purpose: KeyPurpose = KeyPurpose.SERVICE) -> str:
        return (await self.life.rotate(purpose)).new.version

    async def reencrypt(self, *, payload: bool = False, batch_size: int = 7) -> Progress:
        run = self.life.reencrypt.run(payload=payload, batch_size=batch_size)
        batches = [progress async for progress in run]
        return batches[-1] if batches else Progress(0, 0)

    def records(self) -> dict[str, SealedRecord]:
        rows = self.database.execute(
            "SELECT token_id, sealed_pan FROM payment_tokens WHERE sealed_pan IS NOT NULL"
        )
        return {token: SealedRecord.from_bytes(sealed) for token, sealed in rows}

    async def check_every_record_opens(self) -> None:
        rows = self.database.execute(
            "SELECT merchant_id, token_id, purge_day, expires_at, sealed_pan, service_key"
            "  FROM payment_tokens WHERE sealed_pan IS NOT NULL"
        ).fetchall()
        for merchant, token, day, expires_at, sealed, version in rows:
            record = SealedRecord.from_bytes(sealed)
            assert record.key_name == version
            key = await self.keys.service.named(version)
            assert key is not None
            binding = Binding(Purpose.PAN, merchant, TokenId(token, day), "test", expires_at)
            assert open_record(record, key, binding).reveal() == self.tokens[token]

    def versions(self) -> dict[str, str]:
        """How many records are under which version."""
        return dict(
            self.database.execute(
                "SELECT service_key, count(*) FROM payment_tokens"
                " WHERE sealed_pan IS NOT NULL GROUP BY 1"
            ).fetchall()
        )

    async def state(self, version: str, purpose: KeyPurpose = KeyPurpose.SERVICE) -> KeyState:
        found = await self.keys.versions.all(purpose)
        return next(known.state for known in found if known.version == version)


@asynccontextmanager
async def key_deployment(
    url: str, folder: Path, **settings: object
) -> AsyncIterator[KeyDeployment]:
    """A new deployment with its first keys, environment ``test``."""
    store_file, key_file = folder / "keystore", folder / "keystore-key"
    if not store_file.exists():
        keystore = LocalKeystore.create(store_file, key_file, Environment.TEST)
        keystore.import_key("kek", KEK_ALGORITHM, SecretKey(os.urandom(32)))
    configured = Settings(
        environment=Environment.TEST,
        local_keystore_file=store_file,
        local_keystore_key_file=key_file,
        service_kms_key_id="local:kek",
        **settings,
    )
    with psycopg.connect(url, autocommit=True) as database:
        async with new_pool(url) as pool:
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with (
                audit_log_of(url, pool) as log,
                Keys.opened(configured, pool, clock, AuditedKeyChanges(log, RECORDER)) as keys,
            ):
                async with keys.kept_fresh():
                    pass
                store = PostgresTokenStore(pool, pool, WINDOW)
                yield KeyDeployment(keys, KeyLife(keys, pool), store, database, configured, url, {})
