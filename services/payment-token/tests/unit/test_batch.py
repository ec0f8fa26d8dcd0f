"""Many requests in one call: order, lines, deadline, defects."""

import asyncio

from payment_token.api.batch import Batch, in_lines


def test_what_shares_a_key_is_one_line():
    assert in_lines(["a", None, "b", "a", None, "a"]) == [[0, 3, 5], [1], [2], [4]]
    assert in_lines([]) == []


async def test_each_has_its_own_outcome():
    async def work(place: int) -> int:
        if place % 3 == 0:
            raise ValueError(str(place))
        return place * 10

    outcomes = await Batch(work).run([[place] for place in range(300)])

    assert sorted(outcomes) == list(range(300))
    assert outcomes[1] == 10
    assert isinstance(outcomes[3], ValueError)


async def test_a_line_is_done_in_its_order_and_lines_side_by_side():
    begun: list[int] = []
    going = asyncio.Event()

    async def work(place: int) -> None:
        begun.append(place)
        if place == 2:
            going.set()
        await going.wait()

    await Batch(work).run([[0, 3], [1, 4], [2]])

    assert begun[:3] == [0, 1, 2]
    assert sorted(begun[3:]) == [3, 4]


async def test_what_is_late_is_not_in_the_answer_and_what_was_not_begun_never_is():
    begun: list[int] = []
    release = asyncio.Event()
    ended: list[bool] = []
    all_ended = asyncio.Event()

    async def work(place: int) -> int:
        begun.append(place)
        if place >= 50:
            await release.wait()
            ended.append(batch.is_over)
            if len(ended) == 100:
                all_ended.set()
        return place

    batch = Batch(work)
    outcomes = await batch.run([[place] for place in range(500)], seconds=0.2)

    assert sorted(outcomes) == list(range(50))
    assert len(begun) == 150
    release.set()
    await all_ended.wait()
    assert ended == [True] * 100
    assert len(begun) == 150
    assert sorted(outcomes) == list(range(50))
