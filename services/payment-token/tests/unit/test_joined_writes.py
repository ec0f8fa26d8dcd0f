"""Two writes of one answer leave as one, in order, and none is lost or late."""

import asyncio

import pytest

from payment_token.api.joined_writes import JoinedWrites


class Recorded(asyncio.Transport):
    """A connection that remembers what it was asked to write; like uvloop's it refuses to once it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise RuntimeError("closed")
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
async def connection() -> Recorded:
    return Recorded()


async def test_head_and_body_leave_together(connection: Recorded) -> None:
    joined = JoinedWrites(connection)
    joined.write(b"head")
    joined.write(bytearray(b"body"))

    assert connection.written == [b"headbody"]


async def test_a_write_alone_leaves_at_the_next_turn(connection: Recorded) -> None:
    joined = JoinedWrites(connection)
    joined.write(b"100 Continue")
    assert connection.written == []
    await asyncio.sleep(0)

    assert connection.written == [b"100 Continue"]


async def test_every_byte_leaves_in_order(connection: Recorded) -> None:
    joined = JoinedWrites(connection)
    for number in range(7):
        joined.write(b"%d" % number)
        if number % 3 == 0:
            await asyncio.sleep(0)
    joined.close()

    assert b"".join(connection.written) == b"0123456"


async def test_what_is_kept_leaves_before_the_connection_is_closed(connection: Recorded) -> None:
    joined = JoinedWrites(connection)
    joined.write(b"last words")
    joined.close()

    assert connection.written == [b"last words"]
    assert joined.is_closing()


async def test_a_connection_that_ended_meanwhile_is_left_alone(connection: Recorded) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    joined = JoinedWrites(connection)
    joined.write(b"head")
    connection.close()
    await asyncio.sleep(0)

    assert (connection.written, faults) == ([], [])
