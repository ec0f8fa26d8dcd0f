"""API keys change on record, one change at a time, and an end only comes nearer."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from payment_token.bootstrap.audit import opened_audit_log
from payment_token.domain.api_key import APIKey, KeyReading, PresentedKey, Scope, new_api_key
from payment_token.domain.audit import Actor, AuditEvent, Receipt
from payment_token.domain.change_api_keys import APIKeyRefusedError, ChangeAPIKeys, Rotated
from payment_token.domain.errors import AuditUnavailableError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Rate
from payment_token.domain.ports import AuditLog
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.database.api_key_store import PostgresAPIKeyStore
from payment_token.infrastructure.database.clock import DatabaseClock
from payment_token.infrastructure.database.pool import new_pool

OPERATOR = Actor("operator:alice", "test")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEAR = timedelta(days=365)


@dataclass
class Operators:
    """Each change is made by a process of its own: a pool and a log of its own."""

    url: str
    closing: AsyncExitStack
    database: psycopg.Connection[dict[str, Any]]
    secrets: dict[str, SensitiveText] = field(default_factory=dict)

    async def process(self) -> ChangeAPIKeys:
        store, log = await self._opened()
        return ChangeAPIKeys(store=store, audit_log=log, operator=OPERATOR)

    async def store(self) -> PostgresAPIKeyStore:
        return (await self._opened())[0]

    async def made(self, **options: Any) -> APIKey:
        key, secret = new_api_key("till", (MerchantId("m_1"),), os.urandom, **options)
        self.secrets[key.key_id] = secret
        await (await self.process()).add(key)
        return key

    async def read(self, key_id: str) -> KeyReading:
        reading = await (await self.store()).find(key_id)
        assert reading is not None
        return reading

    def records(self, key_id: str) -> list[tuple[str, dict[str, str]]]:
        rows = self.database.execute(
            "SELECT event, record::jsonb -> 'details' AS details FROM audit_records"
            " WHERE record::jsonb -> 'details' ->> 'key_id' = %s ORDER BY recorded_at, sequence",
            (key_id,),
        )
        return [(row["event"], row["details"]) for row in rows.fetchall()]

    async def _opened(self) -> tuple[PostgresAPIKeyStore, AuditLog]:
        pool = await self.closing.enter_async_context(new_pool(self.url))
        clock = DatabaseClock(pool)
        await clock.synchronise()
        log = await self.closing.enter_async_context(
            opened_audit_log(self.url, pool, clock, OPERATOR)
        )
        return PostgresAPIKeyStore(pool), log


@pytest.fixture
async def operators(database_url: str) -> AsyncIterator[Operators]:
    async with AsyncExitStack() as closing:
        with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as database:
            yield Operators(database_url, closing, database)


def in_a_year(now: datetime) -> datetime:
    return now + YEAR


async def rotate(operators: Operators, key_id: str, overlap: timedelta = DAY) -> Rotated:
    rotated = await (await operators.process()).rotate(key_id, overlap, in_a_year, os.urandom)
    assert rotated is not None
    return rotated


def authenticates(reading: KeyReading, secret: SensitiveText) -> bool:
    try:
        reading.key.authenticate(PresentedKey.parse(secret), reading.read_at)
    except UnauthenticatedError:
        return False
    return True


async def test_a_key_comes_back_as_it_was_made(operators: Operators) -> None:
    made = await operators.made(
        scopes=frozenset({Scope.TOKENS_READ, Scope.ADMIN}),
        expires_at=datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
        rate=Rate(50, 200),
    )
    reading = await operators.read(made.key_id)

    assert replace(reading.key, created_at=None) == made
    ((event, details),) = operators.records(made.key_id)
    assert event == "api_key_created"
    assert details == {
        "key_id": made.key_id,
        "name": "till",
        "merchants": "m_1",
        "scopes": "admin,tokens:read",
        "expires_at": "2031-05-06T07:08:09.123456Z",
        "rate": "50/s, burst 200",
    }


async def test_both_work_until_the_overlap_is_over(operators: Operators) -> None:
    old = await operators.made(scopes=frozenset({Scope.TOKENS_READ}), rate=Rate(5, 5))

    rotated = await rotate(operators, old.key_id)

    before, after = await operators.read(old.key_id), await operators.read(rotated.successor.key_id)
    assert authenticates(before, operators.secrets[old.key_id])
    assert authenticates(after, rotated.secret)
    assert not authenticates(after, operators.secrets[old.key_id])
    assert before.key.expires_at == rotated.until
    assert timedelta(hours=23, minutes=50) < rotated.until - before.read_at <= DAY
    assert before.key.replaced_by == after.key.key_id
    assert (after.key.scopes, after.key.rate) == (old.scopes, old.rate)
    assert replace(after.key, created_at=None) == rotated.successor

    assert [event for event, _ in operators.records(old.key_id)] == [
        "api_key_created",
        "api_key_rotated",
    ]
    ended = operators.records(old.key_id)[1][1]
    assert datetime.fromisoformat(ended["expires_at"]) == rotated.until
    assert ended["replaced_by"] == after.key.key_id
    ((event, made),) = operators.records(after.key.key_id)
    assert (event, made["replaces"]) == ("api_key_created", old.key_id)


async def test_an_overlap_prolongs_no_life(operators: Operators) -> None:
    soon = (await (await operators.process()).now()) + HOUR
    old = await operators.made(expires_at=soon)

    rotated = await rotate(operators, old.key_id, overlap=30 * DAY)

    assert rotated.until == (await operators.read(old.key_id)).key.expires_at == soon


async def test_without_an_overlap_the_old_key_ends_at_once(operators: Operators) -> None:
    old = await operators.made()

    await rotate(operators, old.key_id, overlap=timedelta())

    assert not authenticates(await operators.read(old.key_id), operators.secrets[old.key_id])


async def test_of_two_rotations_at_once_one_wins(operators: Operators) -> None:
    old = await operators.made()
    processes = [await operators.process() for _ in range(6)]

    outcomes = await asyncio.gather(
        *(process.rotate(old.key_id, DAY, in_a_year, os.urandom) for process in processes),
        return_exceptions=True,
    )

    (won,) = (outcome for outcome in outcomes if isinstance(outcome, Rotated))
    for lost in outcomes:
        assert lost is won or isinstance(lost, APIKeyRefusedError), lost
    assert (await operators.read(old.key_id)).key.replaced_by == won.successor.key_id
    assert operators.database.execute("SELECT count(*) FROM api_keys").fetchone() == {"count": 2}
    # Who lost has left nothing in the log.
    events = [event for event, _ in operators.records(old.key_id)]
    assert events == ["api_key_created", "api_key_rotated"]


async def test_a_revocation_and_a_rotation_at_once(operators: Operators) -> None:
    """In either order the old key is revoked in the end; a successor is there only if the rotation came first."""
    old = await operators.made()
    one, other = await operators.process(), await operators.process()

    revoked, rotated = await asyncio.gather(
        one.revoke(old.key_id),
        other.rotate(old.key_id, DAY, in_a_year, os.urandom),
        return_exceptions=True,
    )

    assert revoked is True
    reading = await operators.read(old.key_id)
    assert reading.key.revoked_at is not None
    assert isinstance(rotated, Rotated) == (reading.key.replaced_by is not None)
    assert isinstance(rotated, Rotated | APIKeyRefusedError)


async def test_a_key_is_revoked_during_its_overlap(operators: Operators) -> None:
    old = await operators.made()
    rotated = await rotate(operators, old.key_id)

    for _ in range(2):
        assert await (await operators.process()).revoke(old.key_id)

    assert not authenticates(await operators.read(old.key_id), operators.secrets[old.key_id])
    assert authenticates(await operators.read(rotated.successor.key_id), rotated.secret)
    events = [event for event, _ in operators.records(old.key_id)]
    assert events == ["api_key_created", "api_key_rotated", "api_key_revoked"]


async def test_what_has_ended_is_not_rotated(operators: Operators) -> None:
    revoked = await operators.made()
    expired = await operators.made(expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    replaced = await operators.made()
    successor = (await rotate(operators, replaced.key_id)).successor
    process = await operators.process()
    await process.revoke(revoked.key_id)

    for key, said in (
        (revoked, "is revoked"),
        (expired, "has expired at 2026-01-01T00:00:00Z"),
        (replaced, f"was rotated before, to {successor.key_id}: rotate that one"),
    ):
        before = operators.records(key.key_id)
        with pytest.raises(APIKeyRefusedError, match=said):
            await process.rotate(key.key_id, DAY, in_a_year, os.urandom)
        assert operators.records(key.key_id) == before
    assert await process.rotate("0" * 16, DAY, in_a_year, os.urandom) is None
    assert await process.expire("0" * 16, in_a_year) is None
    assert not await process.revoke("0" * 16)


async def test_a_successor_is_rotated_in_its_turn(operators: Operators) -> None:
    first = await operators.made()
    second = (await rotate(operators, first.key_id)).successor
    third = (await rotate(operators, second.key_id)).successor

    assert (await operators.read(second.key_id)).key.replaced_by == third.key_id
    assert (await operators.read(first.key_id)).key.replaced_by == second.key_id


async def test_an_end_comes_nearer_and_never_goes_away(operators: Operators) -> None:
    key = await operators.made()
    process = await operators.process()
    at = await process.expire(key.key_id, lambda now: now + DAY)

    with pytest.raises(APIKeyRefusedError, match="its end cannot be put off"):
        await process.expire(key.key_id, lambda now: now + 2 * DAY)
    nearer = await process.expire(key.key_id, lambda now: now + HOUR)

    assert at is not None
    assert nearer is not None
    assert nearer < at
    assert (await operators.read(key.key_id)).key.expires_at == nearer
    assert [
        datetime.fromisoformat(details["expires_at"])
        for event, details in operators.records(key.key_id)
        if event == "api_key_expiry_changed"
    ] == [at, nearer]


class NoLog:
    async def record(self, event: AuditEvent) -> Receipt:
        raise AuditUnavailableError


async def test_without_a_record_nothing_changes(operators: Operators) -> None:
    key = await operators.made()
    store = await operators.store()
    process = ChangeAPIKeys(store=store, audit_log=NoLog(), operator=OPERATOR)
    before = (await operators.read(key.key_id)).key

    for change in (
        process.revoke(key.key_id),
        process.rotate(key.key_id, DAY, in_a_year, os.urandom),
        process.expire(key.key_id, in_a_year),
        process.add(replace(key, key_id="f" * 16)),
    ):
        with pytest.raises(AuditUnavailableError):
            await change

    assert (await operators.read(key.key_id)).key == before
    assert operators.database.execute("SELECT count(*) FROM api_keys").fetchone() == {"count": 1}


async def test_who_holds_a_key_for_long_is_named_as_the_reason(operators: Operators) -> None:
    key = await operators.made()
    process = await operators.process()
    with operators.database.transaction():
        operators.database.execute("SELECT FROM api_keys FOR UPDATE")

        with pytest.raises(APIKeyRefusedError, match="Somebody else is changing API key"):
            await process.revoke(key.key_id)

    assert await process.revoke(key.key_id)
