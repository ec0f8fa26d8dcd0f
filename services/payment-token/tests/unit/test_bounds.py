"""No request is worked on for ever, whatever keeps it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from payment_token.api.rest import bounds
from payment_token.api.rest.bounds import Bounded, is_given_up

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def scope() -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [],
        "payment_token.request_id": "r-1",
    }


async def answered(
    app: Bounded, receive: Receive | None = None, *, work_goes_on: bool = False
) -> tuple[int, bytes]:
    sent: list[Message] = []
    complete = asyncio.Event()

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            complete.set()

    call = asyncio.ensure_future(app(scope(), receive or nothing, send))
    await (complete.wait() if work_goes_on else call)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[1]["body"]


async def test_what_hangs_is_answered_at_the_deadline() -> None:
    released = asyncio.Event()

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await released.wait()
        await PlainTextResponse("too late")(scope, receive, send)

    status, body = await answered(Bounded(hangs, deadline_seconds=0.05), work_goes_on=True)

    assert (status, json.loads(body)["code"]) == (503, "database_unavailable")
    # What it says later reaches nobody.
    released.set()
    await asyncio.sleep(0.01)


async def test_more_than_can_be_are_sent_away() -> None:
    released = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await released.wait()
        await PlainTextResponse("done")(scope, receive, send)

    app = Bounded(waits, at_once=2)
    working = [asyncio.create_task(answered(app)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    status, body = await answered(app)
    assert (status, json.loads(body)["code"]) == (503, "overloaded")
    released.set()
    assert [await task for task in working] == [(200, b"done")] * 2
    assert (await answered(app))[0] == 200


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def test_a_slow_body_is_no_outage() -> None:
    chunks = 5

    async def slowly() -> Message:
        nonlocal chunks
        await asyncio.sleep(0.04)
        chunks -= 1
        return {"type": "http.request", "body": b"x", "more_body": chunks > 0}

    assert await answered(Bounded(reads_all, deadline_seconds=0.1), slowly) == (200, b"5")


async def test_a_body_that_never_comes_is_the_callers_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.05)
    caught: list[Exception] = []

    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await reads_all(scope, receive, send)
        except bounds.MalformedRequestError as error:
            caught.append(error)
            await PlainTextResponse("malformed", 400)(scope, receive, send)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    assert await answered(Bounded(refuses, deadline_seconds=0.02), never) == (400, b"malformed")
    assert "did not arrive" in str(caught[0])


async def test_a_defect_is_not_swallowed() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await answered(Bounded(breaks))


async def test_a_cancel_after_a_late_body_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.05)
    was_late = asyncio.Event()

    async def reads_again(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except bounds.MalformedRequestError:
            was_late.set()
            await receive()

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    call = asyncio.create_task(answered(Bounded(reads_again, deadline_seconds=0.02), never))
    await asyncio.wait_for(was_late.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_whoever_works_on_knows_that_the_answer_has_left() -> None:
    """Card data that is ready by then was not released."""
    known = []
    ended = asyncio.Event()

    async def is_slow(scope: Scope, receive: Receive, send: Send) -> None:
        known.append(is_given_up(scope))
        await asyncio.sleep(0.1)
        known.append(is_given_up(scope))
        ended.set()

    await answered(Bounded(is_slow, deadline_seconds=0.02), work_goes_on=True)
    await ended.wait()

    assert known == [False, True]
