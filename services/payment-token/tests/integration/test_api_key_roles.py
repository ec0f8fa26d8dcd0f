"""What a process that serves, and an operator, do with API keys, each as the login that it has."""

import os
from datetime import timedelta

import psycopg
import pytest

from payment_token.bootstrap.audit import opened_audit_log
from payment_token.domain.api_key import new_api_key
from payment_token.domain.audit import Actor
from payment_token.domain.change_api_keys import APIKeyRefusedError, ChangeAPIKeys
from payment_token.domain.errors import DatabaseUnavailableError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Rate
from payment_token.infrastructure.database.api_key_permits import PostgresPermitStore
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.api_key_uses import PostgresAPIKeyUses
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool
from payment_token.infrastructure.database.privileges import INGEST, ROTATOR
from tests.support.logins import login_of


async def test_an_operator_makes_changes_lists_and_ends_keys(database_url: str) -> None:
    operator = Actor("operator:alice")
    with login_of(database_url, ROTATOR) as url:
        async with new_pool(url) as pool:
            clock = DatabaseClock(pool)
            await clock.synchronise()
            async with opened_audit_log(url, pool, clock, operator) as log:
                store = PostgresAPIKeyStore(pool)
                changes = ChangeAPIKeys(store=store, audit_log=log, operator=operator)
                key, _ = new_api_key("", (MerchantId("m_1"),), os.urandom)
                await changes.add(key)
                rotated = await changes.rotate(
                    key.key_id, timedelta(days=1), lambda _: None, os.urandom
                )
                assert rotated is not None
                await changes.expire(key.key_id, lambda now: now + timedelta(hours=1))
                assert await changes.revoke(key.key_id)
                listed = await store.list_all()

    assert {reading.key.key_id for reading in listed} == {key.key_id, rotated.successor.key_id}


async def test_a_process_that_serves_notes_uses_and_takes_permits_and_changes_no_key(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as database:
        database.execute(
            "INSERT INTO api_keys (key_id, name, merchants, secret_sha256) VALUES ('k', '', '{}', '')"
        )
    with login_of(database_url, INGEST) as url:
        async with new_pool(url) as pool:
            store, uses = PostgresAPIKeyStore(pool), PostgresAPIKeyUses(pool)
            for _ in range(2):
                await uses.note({"k", "l"})
                assert (await PostgresPermitStore(pool).lease("k", Rate(1, 9), 2)).permits == 2
            (reading,) = await store.list_all()
            assert reading.key.last_used_at is not None

            # Not even to lock it, which would hold up its revocation.
            with pytest.raises((DatabaseUnavailableError, APIKeyRefusedError)):
                async with store.held("k"):
                    pass
