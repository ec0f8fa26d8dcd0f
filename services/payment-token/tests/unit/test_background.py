import asyncio

import pytest

from payment_token.bootstrap.background import ended, repeated
from payment_token.domain.errors import DatabaseUnavailableError


async def test_work_that_takes_its_cancellation_for_a_failure_ends_all_the_same() -> None:
    taken = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            taken.append("taken")
            if len(taken) == 1:
                raise DatabaseUnavailableError from None
            raise

    async with asyncio.timeout(30), repeated(waits, 0.0, at_once=True):
        await asyncio.sleep(0.05)

    assert taken[0] == "taken"


async def test_work_that_holds_on_is_asked_again() -> None:
    asked = []

    async def holds_on() -> None:
        while len(asked) < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                asked.append("asked")

    task = asyncio.create_task(holds_on())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await ended(task)

    assert asked == ["asked"] * 3


async def test_how_work_ended_badly_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("a text that may hold anything") from None

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await ended(task)

    assert [record.__dict__["fault"] for record in caplog.records] == ["ValueError"]
    assert "anything" not in caplog.text


async def test_nothing_to_end_is_fine() -> None:
    await ended()
