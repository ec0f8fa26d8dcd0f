"""One packet for an answer, where uvicorn writes its head and its body apart.

Each write is a system call at once, and behind TLS a record of its own besides: for answers as small as ours the second
one was up to a tenth of the service's CPU.
"""

import asyncio


class JoinedWrites(asyncio.Transport):
    """A connection that keeps a write until the next one, or until the event loop's next turn."""

    __slots__ = ("_kept", "_loop", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._kept = b""
        self._turn: asyncio.Handle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._kept:
            joined, self._kept = self._kept + data, b""
            self._transport.write(joined)
        else:
            self._kept = bytes(data)
            if self._turn is None:
                self._turn = self._loop.call_soon(self._next_turn)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _next_turn(self) -> None:
        self._turn = None
        self._flush()

    def _flush(self) -> None:
        kept, self._kept = self._kept, b""
        if kept and not self._transport.is_closing():
            self._transport.write(kept)
