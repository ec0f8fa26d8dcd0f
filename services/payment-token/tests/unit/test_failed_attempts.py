"""How often a caller may be wrong under one KSN: counted by use cases, and attacked."""

import asyncio
from dataclasses import replace

import pytest

from payment_token.domain.device_events import DeviceEventKind
from payment_token.domain.errors import (
    DatabaseUnavailableError,
    DecryptionFailedError,
    KSNBarredError,
    KSNReplayedError,
)
from payment_token.domain.failed_attempts import AttemptName, FailedAttempts
from payment_token.domain.tokenise_request import TokeniseRequest
from tests.fakes.memory_failed_attempts import MemoryFailedAttempts
from tests.support.use_cases import World, with_payload

NAME = AttemptName("ak_1", "123456789012345600000001")


async def fail() -> None:
    await asyncio.sleep(0)
    raise DecryptionFailedError("luhn")


async def succeed() -> str:
    return "card"


async def test_past_the_limit_nothing_is_tried() -> None:
    counted = MemoryFailedAttempts()
    attempts = FailedAttempts(counted, limit=3)
    for _ in range(3):
        with pytest.raises(DecryptionFailedError):
            await attempts.attempt(NAME, counted.counted[NAME], fail)
    with pytest.raises(KSNBarredError):
        await attempts.attempt(NAME, counted.counted[NAME], succeed)
    assert counted.counted[NAME] == 3
    assert await attempts.attempt(NAME._replace(api_key_id="ak_2"), 0, succeed) == "card"


async def test_a_thousand_at_once_are_no_more_than_three() -> None:
    counted = MemoryFailedAttempts()
    attempts = FailedAttempts(counted, limit=3)
    outcomes = await asyncio.gather(
        *(attempts.attempt(NAME, 0, fail) for _ in range(1000)), return_exceptions=True
    )
    assert sum(isinstance(outcome, DecryptionFailedError) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, KSNBarredError) for outcome in outcomes) == 997


async def test_no_answer_tells_of_a_failure_that_was_not_counted() -> None:
    class Away:
        async def count(self, attempt: AttemptName) -> int:
            raise DatabaseUnavailableError

    with pytest.raises(DatabaseUnavailableError):
        await FailedAttempts(Away()).attempt(NAME, 0, fail)


async def test_who_is_cancelled_while_waiting_holds_up_nobody() -> None:
    attempts = FailedAttempts(MemoryFailedAttempts())
    held = asyncio.Event()

    async def slow() -> str:
        await held.wait()
        return "card"

    first = asyncio.ensure_future(attempts.attempt(NAME, 0, slow))
    waiting = asyncio.ensure_future(attempts.attempt(NAME, 0, succeed))
    await asyncio.sleep(0.01)
    waiting.cancel()
    held.set()
    assert await first == "card"
    assert await attempts.attempt(NAME, 0, succeed) == "card"


# --- Probing a recorded ciphertext, bit by bit ----------------------------------------------------------------------


def changed(request: TokeniseRequest, bit: int, key: str) -> TokeniseRequest:
    """One bit of a block turns the same bit of the next block's plaintext around, and the block itself to noise."""
    (part,) = request.payload.parts
    number = int.from_bytes(part.ciphertext, "big") ^ 1 << bit
    ciphertext = number.to_bytes(len(part.ciphertext), "big")
    probe = with_payload(request, parts=(replace(part, ciphertext=ciphertext),))
    return replace(probe, idempotency_key=key)


async def test_a_recorded_read_is_no_oracle(world: World) -> None:
    """The attacker has the payload before the service does, and asks of every bit whether the card data still passes."""
    read = world.request()
    bits = 8 * len(read.payload.parts[0].ciphertext)

    async def probe(bit: int) -> type[Exception] | None:
        try:
            await world.tokenise(changed(read, bit, f"probe-{bit}"))
        except (DecryptionFailedError, KSNReplayedError) as refused:
            return type(refused)
        return None

    answers = [await probe(bit) for bit in range(bits)]

    told = [answer for answer in answers if answer is not KSNBarredError]
    assert len(told) <= 4
    kinds = [event.kind for event in world.device_events.noted]
    assert kinds.count(DeviceEventKind.KSN_BARRED) >= bits - 4


async def test_garbage_under_the_next_ksns_does_not_stop_a_terminal(world: World) -> None:
    """Its KSNs are no secret and count up by one. Garbage moves no mark, and bars nobody but its sender."""
    terminal = world.terminal()
    first = world.request(terminal=terminal)
    await world.tokenise(first)
    ahead = [world.request(terminal=terminal) for _ in range(20)]

    for read in ahead:
        for attempt in range(5):
            garbage = changed(read, 20 * 8 + attempt, f"{read.payload.ksn}-{attempt}")
            with pytest.raises((DecryptionFailedError, KSNBarredError)):
                await world.tokenise(replace(garbage, api_key_id="attacker"))

    for read in ahead:
        assert not (await world.tokenise(replace(read, api_key_id="pos"))).replayed


@pytest.fixture
def world() -> World:
    return World()
