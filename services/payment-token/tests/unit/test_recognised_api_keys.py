"""How often the database is asked about API keys, and for how long its answer holds."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.api_key import APIKey, KeyReading, PresentedKey, new_api_key
from payment_token.domain.errors import DatabaseUnavailableError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.recognised_api_keys import (
    REVOKED_WITHIN_SECONDS,
    RecognisedAPIKeys,
)

LIMIT = 3
LONGEST_AGE = 4.8
NOON = datetime(2026, 7, 2, 12, tzinfo=UTC)


@dataclass
class Deployment:
    """A clock that stands, a store that counts, and the keys in it.

    The store's own clock is ``set_back`` behind; it answers as of the moment at which it is asked.
    """

    now: float = 1000.0
    queries: int = 0
    query_seconds: float = 0.0
    away: bool = False
    set_back: float = 0.0
    used: list[str] = field(default_factory=list)
    stored: dict[str, APIKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = RecognisedAPIKeys(
            self, lambda: self.now, lambda: 1.0, note_use=self.used.append, limit=LIMIT
        )

    async def find(self, key_id: str) -> KeyReading | None:
        self.queries += 1
        if self.away:
            raise DatabaseUnavailableError
        found, read_at = self.stored.get(key_id), self.time_in(-self.set_back)
        await asyncio.sleep(0)
        self.now += self.query_seconds
        return None if found is None else KeyReading(found, read_at)

    def time_in(self, seconds: float) -> datetime:
        """By a clock that nobody sets."""
        return NOON + timedelta(seconds=self.now - 1000.0 + seconds)

    def made(self, number: int = 0, expires_at: datetime | None = None) -> PresentedKey:
        key, text = new_api_key(
            "",
            (MerchantId("m_1"),),
            lambda size: bytes([number] * size),
            expires_at=expires_at,
        )
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
    expired = deployment.made(2, expires_at=deployment.time_in(0))
    deployment.revoke(revoked)
    await deployment.keys.authenticate(good)
    unknown = PresentedKey("f" * 16, good.secret_sha256)

    for refused in (guess(good), revoked, guess(revoked), expired, guess(expired), unknown):
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


async def test_a_remembered_key_expires_at_its_instant(deployment: Deployment) -> None:
    presented = deployment.made(expires_at=deployment.time_in(2.0))
    await deployment.keys.authenticate(presented)

    deployment.now += 1.999
    await deployment.keys.authenticate(presented)
    assert deployment.queries == 1
    deployment.now += 0.001
    await check_refused(deployment, presented)

    # From then on it is like any other that is none: one query each time.
    before = deployment.queries
    for _ in range(3):
        await check_refused(deployment, presented)
    assert deployment.queries == before + 3


async def test_a_slow_answer_prolongs_no_life(deployment: Deployment) -> None:
    presented = deployment.made(expires_at=deployment.time_in(2.0))
    deployment.query_seconds = 1.5
    await deployment.keys.authenticate(presented)
    deployment.query_seconds = 0.0

    deployment.now += 0.5

    await check_refused(deployment, presented)


async def test_an_answer_that_comes_after_the_end_is_asked_for_again(
    deployment: Deployment,
) -> None:
    presented = deployment.made(expires_at=deployment.time_in(1.0))
    deployment.query_seconds = 1.5

    await check_refused(deployment, presented)

    assert deployment.queries == 2


async def test_a_clock_that_is_set_back_prolongs_no_remembered_life(
    deployment: Deployment,
) -> None:
    presented = deployment.made(expires_at=deployment.time_in(2.0))
    await deployment.keys.authenticate(presented)
    deployment.set_back = 3600.0
    deployment.now += 2.0

    # The database decides, and is asked: by its clock the key still lives.
    await deployment.keys.authenticate(presented)
    assert deployment.queries == 2
    deployment.set_back = 0.0
    deployment.now += LONGEST_AGE
    await check_refused(deployment, presented)


async def test_in_an_outage_no_key_outlives_its_end(deployment: Deployment) -> None:
    presented = deployment.made(expires_at=deployment.time_in(2.0))
    await deployment.keys.authenticate(presented)
    deployment.away = True

    deployment.now += 2.0

    with pytest.raises(DatabaseUnavailableError):
        await deployment.keys.authenticate(presented)


async def test_who_proved_itself_is_noted_and_nobody_else(deployment: Deployment) -> None:
    good, revoked = deployment.made(), deployment.made(1)
    deployment.revoke(revoked)
    for refused in (revoked, guess(good), PresentedKey("f" * 16, b"")):
        await check_refused(deployment, refused)
    assert deployment.used == []

    for _ in range(2):
        await deployment.keys.authenticate(good)

    assert deployment.used == [good.key_id] * 2
