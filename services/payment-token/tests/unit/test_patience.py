"""How a failing custodian is left alone, and found again."""

import asyncio

import pytest

from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
)
from payment_token.infrastructure.custody.patience import LONGEST_REST_SECONDS, Patience


class Custodian:
    """``time`` is what its clock says; ``calls`` counts those that were let through."""

    def __init__(self) -> None:
        self.time = 0.0
        self.calls = 0
        self.fault: Exception | None = None
        self.patience = Patience(lambda: self.time, lambda: 1.0)

    async def ask(self) -> None:
        async with self.patience.call():
            self.calls += 1
            await asyncio.sleep(0)
            if self.fault is not None:
                raise self.fault

    async def ask_many(self, number: int = 100) -> list[object]:
        return await asyncio.gather(*(self.ask() for _ in range(number)), return_exceptions=True)


async def failing(fault: Exception | None = None) -> Custodian:
    custodian = Custodian()
    custodian.fault = fault or KeyCustodianUnavailableError()
    with pytest.raises(type(custodian.fault)):
        await custodian.ask()
    return custodian


@pytest.mark.parametrize("fault", [KeyCustodianUnavailableError(), KeyCustodianThrottledError()])
async def test_after_a_failure_calls_are_refused_without_being_made(fault: Exception) -> None:
    custodian = await failing(fault)

    answers = await custodian.ask_many()

    assert custodian.calls == 1
    assert {type(answer) for answer in answers} == {KeyCustodianUnavailableError}


async def test_rests_double_up_to_a_bound() -> None:
    custodian = await failing()
    rests = []
    for _ in range(8):
        before = custodian.time
        while custodian.calls == len(rests) + 1:
            custodian.time += 0.01
            with pytest.raises(KeyCustodianUnavailableError):
                await custodian.ask()
        rests.append(custodian.time - before)

    assert rests[:3] == pytest.approx([0.1, 0.2, 0.4], abs=0.02)
    assert rests[-3:] == pytest.approx([LONGEST_REST_SECONDS] * 3, abs=0.02)


async def test_after_the_rest_one_call_finds_out_and_the_others_wait_for_it() -> None:
    custodian = await failing()
    custodian.time += 1

    await custodian.ask_many()

    assert custodian.calls == 2


async def test_a_success_lets_everybody_through_again() -> None:
    custodian = await failing()
    custodian.time += 1
    custodian.fault = None
    await custodian.ask()

    assert await custodian.ask_many() == [None] * 100
    assert custodian.calls == 102


async def test_failures_together_are_one_failure() -> None:
    custodian = Custodian()
    custodian.fault = KeyCustodianUnavailableError()
    await custodian.ask_many()
    assert custodian.calls == 100
    custodian.time += 0.11
    custodian.fault = None

    await custodian.ask()

    assert custodian.calls == 101


@pytest.mark.parametrize("fault", [KeyCustodianRefusedError("no"), RecordIntegrityFailureError()])
async def test_a_refusal_is_an_answer(fault: Exception) -> None:
    custodian = await failing(fault)
    custodian.fault = None

    await custodian.ask()

    assert custodian.calls == 2


async def test_a_probe_whose_caller_went_away_finds_nothing_out_and_lets_the_next_one_try() -> None:
    custodian = await failing()
    custodian.time += 1
    probe = asyncio.ensure_future(custodian.ask())
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe

    await custodian.ask_many()

    assert custodian.calls == 3
