"""What is hardly HTTP ends one connection, and nothing else."""

import json
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.deployment import Deployment, RunningService
from tests.support.requests import exchange


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x00\xff\x01",
        b"\0" * 1000,
    ],
    ids=[
        "garbage",
        "huge header",
        "short body",
        "negative length",
        "both lengths",
        "bad chunk",
        "TLS",
        "NULs",
    ],
)
def test_broken_http_ends_one_connection_and_nothing_else(
    service: RunningService, sent: bytes
) -> None:
    answer = exchange(service.urls["public"], sent, half_close=True)

    assert not answer or answer.split(b" ")[1] in (b"400", b"401", b"404", b"413", b"431")
    assert httpx.get(service.urls["public"] + "/healthz").status_code == 200


BROKEN_AFTER_THE_KEY = {
    "bad chunk": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "length and chunks": (
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"400",
    ),
    "two lengths": (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "negative length": (b"Content-Length: -1\r\n\r\n", b"400"),
    "length beyond 64 bits": (b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", b"400"),
    "length of 19 digits": (b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", b"413"),
    "huge, asking first": (b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", b"413"),
    "folded request id": (b"X-Request-ID: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "line feed in the request id": (
        b"X-Request-ID: a\nX: b\r\nContent-Length: 2\r\n\r\n{}",
        b"400",
    ),
    "carriage return in it": (b"X-Request-ID: a\rX: b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "NUL in it": (b"X-Request-ID: a\0b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
}


@pytest.mark.parametrize("name", BROKEN_AFTER_THE_KEY)
def test_broken_http_of_a_caller_with_a_key(
    deployment: Deployment, service: RunningService, name: str
) -> None:
    rest, status = BROKEN_AFTER_THE_KEY[name]

    answer = exchange(service.urls["public"], head_of_a_create(deployment) + rest)

    assert answer.split(b" ")[1] == status
    assert b"X: b" not in answer
    assert httpx.get(service.urls["public"] + "/readyz").status_code == 200


@pytest.mark.parametrize(
    "rest",
    [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n10\r\n{"],
    ids=["of a stated length", "in chunks"],
)
def test_a_body_that_is_cut_short_is_malformed(
    deployment: Deployment, service: RunningService, rest: bytes
) -> None:
    request_id = uuid.uuid4().hex
    head = head_of_a_create(deployment) + f"X-Request-ID: {request_id}\r\n".encode()

    exchange(service.urls["public"], head + rest, half_close=True)

    # Nobody is there to read the answer, so the log has to tell.
    deadline = time.monotonic() + 5
    while not (lines := [line for line in service.log_lines if request_id in line]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [json.loads(line)["code"] for line in lines] == ["malformed_request"]
    assert httpx.get(service.urls["public"] + "/readyz").status_code == 200


def head_of_a_create(deployment: Deployment) -> bytes:
    return (
        "POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {deployment.api_key}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {uuid.uuid4()}\r\n"
    ).encode()


@pytest.mark.parametrize(
    "sent", [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 1000], ids=["HTTP", "NULs"]
)
def test_what_is_not_tls_gets_no_answer_from_the_internal_listener(
    service: RunningService, worker: httpx.Client, sent: bytes
) -> None:
    answer = exchange(service.urls["internal"], sent, half_close=True)

    assert not answer.startswith(b"HTTP")
    assert worker.get("/healthz").status_code == 200


def test_a_body_in_chunks_is_bounded_too(deployment: Deployment, pos: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    answer = pos.post(
        "/v1/payment-tokens",
        content=endless(),
        headers={"Content-Type": "application/json", "Idempotency-Key": "k"},
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
