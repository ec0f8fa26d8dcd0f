"""What goes over the wire, with a server on a real socket that answers as it is told and keeps what it got."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from payment_token_client import (
    AsyncClient,
    AsyncWorkerClient,
    Client,
    RetryBudget,
    RetryPolicy,
    WorkerClient,
    worker_tls,
)
from payment_token_client.errors import (
    ConnectionFailedError,
    IdempotencyInProgressError,
    OverloadedError,
    ServiceError,
    TokenNotFoundError,
)

HANG_UP = 0
TOKEN = (
    b'{"payment_token":"pt_abc","merchant_id":"m_1","status":"active","created_at":"2026-11-27T12:00:00Z",'
    b'"expires_at":"2026-11-28T12:00:00Z","card":{"brand":"visa","bin":"411111","last4":"1111","exp_month":12,'
    b'"exp_year":2030,"entry_mode":"swipe","checks":{"luhn":true,"expired":false}},"metadata":{}}'
)


class Given(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]


class Scripted(ThreadingHTTPServer):
    """Answers with ``script`` in order: a status, its body, and Retry-After."""

    daemon_threads = True

    def __init__(self, *script: tuple[int, bytes, str | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.given = list(script), list[Given]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.given.append(Given(self.command, self.path, headers, body, self.client_address))
        status, content, retry_after = self.server.script.pop(0)
        if status == HANG_UP:
            self.close_connection = True
            return
        self.send_response(status)
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def scripted(*script: tuple[int, bytes, str | None]) -> Iterator[Scripted]:
    with Scripted(*script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def problem(status: int, code: str, retry_after: str | None = "0") -> tuple[int, bytes, str | None]:
    return (
        status,
        f'{{"code": "{code}", "detail": "why", "request_id": "r-9"}}'.encode(),
        retry_after,
    )


def client_of(server: Scripted, **changes: float) -> Client:
    policy = RetryPolicy(**{"first_backoff": 0.001} | changes)  # type: ignore[arg-type]
    return Client(server.url, "ptk_test", policy=policy)


PAYLOAD = {"scheme": "dukpt-aes", "ksn": "00", "parts": [{"format": "track2", "ciphertext": "é"}]}


def test_a_retry_sends_the_same_bytes_under_the_same_key() -> None:
    with (
        scripted(
            problem(503, "database_unavailable"),
            (HANG_UP, b"", None),
            problem(409, "idempotency_in_progress"),
            problem(429, "rate_limited"),
            (201, TOKEN, None),
        ) as server,
        client_of(server) as client,
    ):
        token = client.create("m_1", PAYLOAD, "T-1", metadata={"order": "A-100"})
    assert token.payment_token == "pt_abc"
    assert len(server.given) == 5
    assert {(sent.method, sent.path) for sent in server.given} == {("POST", "/v1/payment-tokens")}
    assert len({sent.body for sent in server.given}) == 1
    assert {sent.headers["idempotency-key"] for sent in server.given} == {token.idempotency_key}
    assert {sent.headers["authorization"] for sent in server.given} == {"Bearer ptk_test"}


def test_every_create_without_a_key_gets_one_of_its_own_without_digits() -> None:
    with (
        scripted((201, TOKEN, None), (201, TOKEN, None)) as server,
        client_of(server) as client,
    ):
        keys = {client.create("m_1", PAYLOAD, "T-1").idempotency_key for _ in range(2)}
    assert len(keys) == 2
    assert all(key is not None and key.isalpha() for key in keys)


def test_the_key_is_on_the_error_too_for_a_later_attempt() -> None:
    script = [problem(409, "idempotency_in_progress") for _ in range(2)]
    with (
        scripted(*script) as server,
        client_of(server, attempts=2) as client,
        pytest.raises(IdempotencyInProgressError) as caught,
    ):
        client.create("m_1", PAYLOAD, "T-1")
    assert caught.value.idempotency_key == server.given[0].headers["idempotency-key"]
    assert caught.value.request_id == "r-9"


def test_a_refusal_is_sent_once() -> None:
    with (
        scripted(problem(404, "token_not_found")) as server,
        client_of(server) as client,
        pytest.raises(TokenNotFoundError),
    ):
        client.get("pt_abc")
    assert len(server.given) == 1


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun() -> None:
    with (
        scripted(problem(503, "overloaded", "60")) as server,
        client_of(server) as client,
        pytest.raises(OverloadedError) as caught,
    ):
        client.get("pt_abc")
    assert caught.value.retry_after == 60
    assert len(server.given) == 1


def test_a_spent_budget_stops_retries_of_all_operations() -> None:
    budget = RetryBudget(ratio=0, per_second=0, capacity=1, now=0)
    with (
        scripted(*[problem(503, "overloaded") for _ in range(3)]) as server,
        Client(server.url, "ptk_test", budget=budget) as client,
    ):
        for _ in range(2):
            with pytest.raises(OverloadedError):
                client.get("pt_abc")
    assert len(server.given) == 3


def test_one_connection_serves_one_operation_after_the_other() -> None:
    with (
        scripted(*[(200, TOKEN, None)] * 3) as server,
        client_of(server) as client,
    ):
        for _ in range(3):
            client.get("pt_abc")
    assert len({sent.connection for sent in server.given}) == 1


def test_a_merchant_stays_one_parameter() -> None:
    with (
        scripted((204, b"", None)) as server,
        client_of(server) as client,
    ):
        client.delete("pt_abc", "m_1&merchant_id=m_2#")
    assert (
        server.given[0].path == "/v1/payment-tokens/pt_abc?merchant_id=m_1%26merchant_id%3Dm_2%23"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "pt_",
        "pt_/../../healthz",
        "pt_abc?merchant_id=m_2",
        "pt_abc\n",
        "4111111111111111",
    ],
)
def test_what_cannot_be_a_token_is_not_found_without_being_sent(text: str) -> None:
    with scripted() as server, client_of(server) as client:
        for operation in (client.get, client.delete):
            with pytest.raises(TokenNotFoundError) as caught:
                operation(text)
            assert not text or text not in str(caught.value)
    assert server.given == []


def test_a_redirect_is_not_followed() -> None:
    with (
        scripted((307, b"", None)) as server,
        client_of(server) as client,
        pytest.raises(ServiceError, match="http_307"),
    ):
        client.create("m_1", PAYLOAD, "T-1")
    assert len(server.given) == 1


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        scripted() as proxy,
        scripted((200, TOKEN, None)) as server,
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with client_of(server) as client:
            client.get("pt_abc")
    assert proxy.given == []


def test_nobody_who_listens_is_a_failed_connection() -> None:
    with scripted() as server:
        url = server.url
    policy = RetryPolicy(attempts=2, first_backoff=0.001)
    with (
        Client(url, "ptk_test", policy=policy) as client,
        pytest.raises(ConnectionFailedError),
    ):
        client.get("pt_abc")


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX-Evil: 1", "é", "k" * 256])
def test_what_no_header_can_carry_is_refused_before_anything_is_sent(text: str) -> None:
    with scripted() as server, client_of(server) as client:
        with pytest.raises(ValueError, match="visible ASCII"):
            client.create("m_1", PAYLOAD, "T-1", idempotency_key=text)
        with pytest.raises(ValueError, match="visible ASCII"):
            Client(server.url, text)
    assert server.given == []


def test_a_worker_without_its_files_hears_so_at_once() -> None:
    with pytest.raises(OSError, match="No such file"):
        WorkerClient(
            "https://127.0.0.1:1", tls=worker_tls("ca.pem", "worker.pem", "worker-key.pem")
        )


async def test_over_asyncio_a_retry_sends_the_same_bytes_under_the_same_key_too() -> None:
    policy = RetryPolicy(first_backoff=0.001)
    with scripted(
        problem(503, "database_unavailable"),
        (HANG_UP, b"", None),
        problem(409, "idempotency_in_progress"),
        (201, TOKEN, None),
        (200, TOKEN, None),
        (204, b"", None),
        problem(404, "token_not_found"),
    ) as server:
        async with AsyncClient(server.url, "ptk_test", policy=policy) as client:
            token = await client.create("m_1", PAYLOAD, "T-1")
            assert (await client.get("pt_abc")).card == token.card
            await client.delete("pt_abc", "m_1")
            with pytest.raises(TokenNotFoundError):
                await client.get("pt_abc")
    creates = server.given[:4]
    assert len({sent.body for sent in creates}) == 1
    assert {sent.headers["idempotency-key"] for sent in creates} == {token.idempotency_key}
    assert len(server.given) == 7


async def test_over_asyncio_the_deadline_of_the_whole_holds_against_an_answer_that_trickles_in() -> (
    None
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def trickle() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while not ended.wait(0.05):
                        connection.sendall(b"x")
                except OSError:
                    pass

        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        async with AsyncClient(url, "ptk_test", policy=RetryPolicy(total=0.5)) as client:
            with pytest.raises(ConnectionFailedError):
                await client.get("pt_abc")
        assert 0.4 < time.monotonic() - began < 5
        ended.set()
        await asyncio.to_thread(thread.join)


async def test_over_asyncio_a_worker_speaks_https_only_too() -> None:
    with pytest.raises(ValueError, match="https"):
        AsyncWorkerClient("http://127.0.0.1:1", tls=ssl.create_default_context())
