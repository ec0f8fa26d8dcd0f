from datetime import UTC, datetime, timedelta

import pytest

from payment_token.domain.audit import Actor, EventKind, Outcome
from payment_token.domain.errors import AuditUnavailableError, DatabaseUnavailableError
from payment_token.domain.refused_handshakes import RefusedHandshakes
from tests.support.use_cases import World

PROCESS = Actor("service:test")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def refused(world: World) -> RefusedHandshakes:
    return RefusedHandshakes(world.audit_log, world, PROCESS)


async def test_each_reason_is_one_record_however_many_there_were(
    world: World, refused: RefusedHandshakes
) -> None:
    for number in range(1_000):
        world.time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)
        refused.note("expired")
    refused.note("revoked")

    await refused.record_counts()
    await refused.record_counts()

    first, second = world.audit_log.events
    assert (first.kind, first.outcome, first.actor) == (
        EventKind.HANDSHAKE_REFUSED,
        Outcome.REFUSED,
        PROCESS,
    )
    assert first.details == {
        "reason": "expired",
        "handshakes": 1_000,
        "first": "2026-01-01T00:00:00Z",
        "last": "2026-01-01T00:00:00Z",
    }
    assert (second.details["reason"], second.details["handshakes"]) == ("revoked", 1)


async def test_what_cannot_be_recorded_is_kept_and_goes_on(
    world: World, refused: RefusedHandshakes
) -> None:
    refused.note("expired")
    world.audit_log.fails = True
    with pytest.raises(AuditUnavailableError):
        await refused.record_counts()
    world.time += timedelta(minutes=1)
    refused.note("expired")
    world.audit_log.fails = False

    await refused.record_counts()

    (event,) = world.audit_log.events
    assert event.details == {
        "reason": "expired",
        "handshakes": 2,
        "first": "2026-01-01T00:00:00Z",
        "last": "2026-01-01T00:01:00Z",
    }


async def test_a_time_that_is_not_known_is_left_out(world: World) -> None:
    class NoClock:
        def now(self) -> datetime:
            raise DatabaseUnavailableError

    refused = RefusedHandshakes(world.audit_log, NoClock(), PROCESS)
    refused.note("no_certificate")

    await refused.record_counts()

    assert world.audit_log.events[0].details == {"reason": "no_certificate", "handshakes": 1}
