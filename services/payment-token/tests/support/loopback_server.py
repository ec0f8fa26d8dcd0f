"""A small HTTP server of the test's own, which can be told to fail in every way in which a remote one does."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, content: Mapping[str, object], status: int = 200) -> Self:
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        return cls(status, json.dumps(content).encode(), headers)

    @classmethod
    def of_error(cls, status: int, code: str, message: str = "no") -> Self:
        """As the JSON protocols of AWS state an error: in a header, and in the body."""
        content = json.dumps({"__type": code, "message": message}).encode()
        return cls(
            status,
            content,
            {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code},
        )


HANG_UP = Answer(status=0)
"""No answer: the connection is closed."""

Responder = Callable[[Request], Answer]


class LoopbackServer:
    """``fault`` answers in the place of ``respond`` while it is set. ``calls`` counts every request that arrived."""

    def __init__(self, respond: Responder) -> None:
        self.calls = 0
        self.fault: Responder | None = None
        self._respond = respond
        self._ended = threading.Event()
        self._counting = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Self]:
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @contextmanager
    def failing(self, fault: Responder | Answer) -> Iterator[None]:
        """``fault`` is what it answers with while the block runs."""
        self.fault = fault if callable(fault) else lambda _: fault
        try:
            yield
        finally:
            self.fault = None

    def hang(self, _: Request) -> Answer:
        """A fault: no answer, and the connection stays open until the fault is over."""
        while self.fault is not None and not self._ended.wait(0.02):
            pass
        return HANG_UP

    def answer(self, request: Request) -> Answer:
        with self._counting:
            self.calls += 1
        return (self.fault or self._respond)(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                answer = server.answer(Request(self.path, dict(self.headers), body))
                if answer is HANG_UP:
                    self.close_connection = True
                    return
                length = {"Content-Length": str(len(answer.body))} | dict(answer.headers)
                lines = [f"HTTP/1.1 {answer.status} -", *(f"{k}: {v}" for k, v in length.items())]
                # Head and body in one segment: two would wait for an acknowledgement between them.
                self.wfile.write("\r\n".join([*lines, "", ""]).encode() + answer.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def handle_error(self, *_: object) -> None:
        """A client that gave up is what several tests are about."""
