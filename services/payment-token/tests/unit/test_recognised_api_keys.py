"""How often the database is asked about API keys, and for how long its answer holds."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from payment_token.domain.api_key import APIKey, PresentedKey, new_api_key
from payment_token.domain.errors import DatabaseUnavailableError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.recognised_api_keys import (
    REVOKED_WITHIN_SECONDS,
    RecognisedAPIKeys,
)

LIMIT = 3
LONGEST_AGE = 4.8


@dataclass
class Deployment:
    """A clock that stands, a store that counts, and the keys in it."""

    now: float = 1000.0
    queries: int = 0
    query_seconds: float = 0.0
    away: bool = False
    stored: dict[str, APIKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = RecognisedAPIKeys(self, lambda: self.now, lambda: 1.0, limit=LIMIT)

    async def find(self, key_id: str) -> APIKey | None:
        self.queries += 1
        if self.away:
            raise DatabaseUnavailableError
        found = self.stored.get(key_id)
        await asyncio.sleep(0)
        self.now += self.query_seconds
        return found

    def made(self, number: int = 0) -> PresentedKey:
        key, text = new_api_key("", (MerchantId("m_1"),), lambda size: bytes([number] * size))
        self.stored[key.key_id] = key
        return PresentedKey.parse(text)

    def revoke(self, presented: PresentedKey) -> None:
        key = self.stored[presented.key_id]
        self.stored[presented.key_id] = replace(key, revoked_at=datetime.now(UTC))


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


async def check_refused(deployment: Deployment, presented: PresentedKey) -> None:
    with pytest.raises(UnauthenticatedError):
        await deployment.keys.authenticate(presented)


def guess(presented: PresentedKey) -> PresentedKey:
    return PresentedKey.parse(SensitiveText(f"ptk_{presented.key_id}_" + "x" * 43))


async def test_a_burst_asks_once(deployment: Deployment) -> None:
    presented = deployment.made()

    found = await asyncio.gather(*(deployment.keys.authenticate(presented) for _ in range(200)))
    await deployment.keys.authenticate(presented)

    assert {key.key_id for key in found} == {presented.key_id}
    assert deployment.queries == 1


async def test_a_revoked_key_is_refused_within_the_time_that_is_promised(
    deployment: Deployment,
) -> None:
    presented = deployment.made()
    await deployment.keys.authenticate(presented)
    deployment.revoke(presented)

    deployment.now += LONGEST_AGE - 0.01
    await deployment.keys.authenticate(presented)
    deployment.now += 0.02

    assert LONGEST_AGE + 0.01 < REVOKED_WITHIN_SECONDS
    await check_refused(deployment, presented)


async def test_a_slow_answer_is_as_old_as_its_question(deployment: Deployment) -> None:
    presented = deployment.made()
    deployment.query_seconds = 2.5
    await deployment.keys.authenticate(presented)
    deployment.revoke(presented)

    deployment.now += 2.6

    await check_refused(deployment, presented)


async def test_every_refusal_costs_one_query_and_leaves_nothing(deployment: Deployment) -> None:
    good, revoked = deployment.made(), deployment.made(1)
    deployment.revoke(revoked)
    await deployment.keys.authenticate(good)
    unknown = PresentedKey("f" * 16, good.secret_sha256)

    for refused in (guess(good), revoked, guess(revoked), unknown):
        before = deployment.queries
        for _ in range(3):
            await check_refused(deployment, refused)
        assert deployment.queries == before + 3


async def test_who_has_no_good_key_pushes_no_good_key_out(deployment: Deployment) -> None:
    good = deployment.made()
    await deployment.keys.authenticate(good)
    for number in range(20 * LIMIT):
        await check_refused(deployment, PresentedKey(f"{number:016x}"[::-1], b""))
        await check_refused(deployment, guess(good))
    before = deployment.queries

    await deployment.keys.authenticate(good)

    assert deployment.queries == before


async def test_memory_is_bounded(deployment: Deployment) -> None:
    presented = [deployment.made(number) for number in range(LIMIT + 1)]
    for key in (*presented, *presented[1:]):
        await deployment.keys.authenticate(key)
    assert deployment.queries == LIMIT + 1

    await deployment.keys.authenticate(presented[0])

    assert deployment.queries == LIMIT + 2


async def test_without_a_database_a_known_key_works_until_its_age_is_up(
    deployment: Deployment,
) -> None:
    presented, other = deployment.made(), deployment.made(1)
    await deployment.keys.authenticate(presented)
    deployment.away = True

    await deployment.keys.authenticate(presented)
    with pytest.raises(DatabaseUnavailableError):
        await deployment.keys.authenticate(other)

    deployment.now += LONGEST_AGE
    with pytest.raises(DatabaseUnavailableError):
        await deployment.keys.authenticate(presented)
    deployment.away = False
    await deployment.keys.authenticate(presented)
