"""A kept HTTP/1.1 connection that carries one request at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """``client`` is whose turn it is, ``kind`` and ``began`` belong to the request under way."""

    __slots__ = ("_answered", "_lost", "_part", "_write", "began", "client", "kind")

    def __init__(
        self,
        client: int,
        answered: "Callable[[Connection, bytes], None]",
        lost: "Callable[[], None]",
    ) -> None:
        self.client = client
        self.kind = 0
        self.began = 0
        self._part = b""
        self._answered = answered
        self._lost = lost

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def send(self, kind: int, request: bytes, began: int) -> None:
        self.kind = kind
        self.began = began
        self._write(request)

    def data_received(self, data: bytes) -> None:
        if self._part:
            data = self._part + data
        head_end = data.find(_HEAD_END)
        if head_end < 0 or len(data) < head_end + 4 + _body_length(data, head_end):
            self._part = data
            return
        self._part = b""
        self._answered(self, data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._lost()


def _body_length(data: bytes, head_end: int) -> int:
    # The servers here write the name in small letters; another spelling costs a second look.
    at = data.find(_LENGTH, 0, head_end)
    if at < 0:
        at = data[:head_end].lower().find(_LENGTH)
        if at < 0:
            return 0
    return int(data[at + len(_LENGTH) : data.index(b"\r", at)])
