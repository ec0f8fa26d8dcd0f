"""A checkpoint gets to its place: not more often than is wanted, and late rather than never."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from payment_token.domain.log_sealing import publication
from payment_token.domain.log_sealing.ports import PlaceUnavailableError
from payment_token.domain.log_sealing.publication import Publication


class Place:
    name = "a place"

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tries = 0
        self.away = False
        self.hangs = False

    async def beyond(self, size: int) -> str | None:
        return None

    async def publish(self, note: str) -> None:
        self.tries += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise PlaceUnavailableError
        self.notes.append(note)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(publication, "_LAST_SECONDS", 0.05)


@pytest.fixture
async def running(place: Place) -> AsyncIterator[Publication]:
    published = Publication(place, 0.0)
    task = asyncio.create_task(published.run())
    yield published
    task.cancel()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a condition of the code under test
            await asyncio.sleep(0.001)


async def test_each_is_published_as_it_comes(running: Publication, place: Place) -> None:
    for number in range(3):
        running.offer(str(number))
        await _until(lambda number=number: len(place.notes) > number)

    assert place.notes == ["0", "1", "2"]
    assert running.waits_seconds == 0


async def test_a_place_that_comes_back_gets_the_last_one(
    running: Publication, place: Place
) -> None:
    place.away = True
    for number in range(3):
        running.offer(str(number))
    await _until(lambda: place.tries > 1)
    assert running.waits_seconds > 0
    running.offer("last")
    place.away = False
    await _until(lambda: place.notes)

    assert place.notes == ["last"]
    await _until(lambda: running.waits_seconds == 0)


async def test_not_more_often_than_is_wanted_and_the_last_one_at_the_end(place: Place) -> None:
    published = Publication(place, 3600.0)
    task = asyncio.create_task(published.run())
    published.offer("first")
    await _until(lambda: place.notes)
    published.offer("second")
    published.offer("third")
    await asyncio.sleep(0.02)
    assert place.notes == ["first"]

    task.cancel()
    await published.finish()

    assert place.notes == ["first", "third"]


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_the_end_waits_for_no_place(place: Place, fault: str) -> None:
    setattr(place, fault, True)
    published = Publication(place, 0.0)
    published.offer("note")

    await published.finish()

    assert place.notes == []
    assert published.waits_seconds > 0
