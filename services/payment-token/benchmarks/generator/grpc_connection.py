"""A kept gRPC connection that carries one call at a time: the little of HTTP/2 (RFC 9113) that one needs.

A client library would cost several times what the service does, on the same cores. Answers come out as HTTP/1.1 would
begin, since that is what a run looks at: what had a message is a 200.
"""

from typing import Any

from benchmarks.generator.connection import Connection

_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY = 0, 1, 4, 6, 7
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_HEAD = 9

_WIDEST = 2**31 - 1
_DEFAULT_WINDOW = 65_535
# So much of an answer may be under way that nobody has to make room.
_SETTING_INITIAL_WINDOW = (4).to_bytes(2, "big") + _WIDEST.to_bytes(4, "big")
_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\0\0\x06\x04\0\0\0\0\0"
    + _SETTING_INITIAL_WINDOW
    + b"\0\0\x04\x08\0\0\0\0\0"
    + (_WIDEST - _DEFAULT_WINDOW).to_bytes(4, "big")
)


def call(authority: str, path: str, message: bytes) -> bytes:
    """The frames of a call, but for the number of its stream."""
    head = (
        b"\x83\x87"  # :method POST, :scheme https
        + _named(4, path)
        + _named(1, authority)
        + b"\x0f\x10"  # content-type
        + _text("application/grpc")
        + b"\0"
        + _text("te")
        + _text("trailers")
    )
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return _frame(_HEADERS, _END_HEADERS, head) + _frame(_DATA, _END_STREAM, body)


class GRPCConnection(Connection):
    __slots__ = ("_had_message", "_stream")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._stream = -1
        self._had_message = False
        self._write(_OPENING)

    def send(self, kind: int, request: bytes, began: int) -> None:
        self.kind = kind
        self.began = began
        self._stream += 2
        self._had_message = False
        stream = self._stream.to_bytes(4, "big")
        body = _HEAD + int.from_bytes(request[:3], "big")
        self._write(
            request[:5] + stream + request[_HEAD : body + 5] + stream + request[body + _HEAD :]
        )

    def data_received(self, data: bytes) -> None:
        data = self._part + data
        at = 0
        while len(data) >= at + _HEAD:
            end = at + _HEAD + int.from_bytes(data[at : at + 3], "big")
            if len(data) < end:
                break
            self._take(data[at + 3], data[at + 4], data[at + _HEAD : end])
            at = end
        self._part = data[at:]

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._had_message = True
        elif kind == _HEADERS and flags & _END_STREAM:
            status = b"200" if self._had_message else b"err"
            self._answered(self, b"HTTP/1.1 " + status + b"\r\n\r\n" + payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._write(_frame(kind, _ACK, payload if kind == _PING else b""))
        elif kind == _GOAWAY:
            self._lost()


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload


def _named(index: int, value: str) -> bytes:
    """A header of HPACK's static table, which the peer is to forget again (RFC 7541 §6.2.2)."""
    return bytes((index,)) + _text(value)


def _text(value: str) -> bytes:
    """Of less than 127 bytes."""
    return bytes((len(value),)) + value.encode()
