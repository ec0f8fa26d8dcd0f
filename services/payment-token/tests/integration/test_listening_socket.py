"""What listens: alone or shared, and what every accepted connection gets from it."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.responses import Response

from payment_token.api.http_protocol import HTTPProtocol
from payment_token.api.listener import Listener
from payment_token.api.listening_socket import ListenError, listening_socket, reserved_address
from payment_token.api.tls import server_context
from tests.support.certificates import Authority

ANYWHERE = "127.0.0.1:0"


@pytest.fixture
def reserved() -> Iterator[str]:
    address, reservation = reserved_address("public", ANYWHERE)
    with reservation:
        yield address


def test_those_who_share_a_reserved_address_share_its_connections(reserved: str) -> None:
    host, port = reserved.split(":")
    with (
        listening_socket("public", reserved, shared=True) as one,
        listening_socket("public", reserved, shared=True) as other,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(64):
            stack.enter_context(socket.create_connection((host, int(port))))
        accepted: Counter[str] = Counter()
        for name, listening in (("one", one), ("other", other)):
            with contextlib.suppress(BlockingIOError):
                while True:
                    listening.accept()[0].close()
                    accepted[name] += 1

    assert accepted.total() == 64
    # 64 tosses of a coin: fewer than 8 of a kind happen once in some 10^9 times.
    assert min(accepted["one"], accepted["other"]) >= 8


def test_nobody_takes_an_address_that_is_reserved(reserved: str) -> None:
    """Not even who would share it, before or after somebody listens there: another deployment of the same user."""
    for _ in range(2):
        with pytest.raises(ListenError, match=f"public: cannot listen on {reserved}: Address"):
            listening_socket("public", reserved)
        with pytest.raises(ListenError, match=f"public: cannot listen on {reserved}: Address"):
            reserved_address("public", reserved)
        with listening_socket("public", reserved, shared=True):
            pass


def test_nobody_reserves_an_address_where_somebody_listens() -> None:
    with listening_socket("public", ANYWHERE) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError):
            reserved_address("public", address)


def test_a_reserved_address_is_free_again_afterwards(reserved: str) -> None:
    with listening_socket("public", reserved, shared=True):
        pass
    address, reservation = reserved_address("public", ANYWHERE)
    reservation.close()

    with listening_socket("public", address):
        pass


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("road", ["alone", "alone, tls", "shared", "shared, tls"])
def test_no_answer_waits_for_the_acknowledgement_of_another(
    run: Callable[[Coroutine[Any, Any, None]], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    reserved: str,
    road: str,
) -> None:
    shared, secure = "shared" in road, "tls" in road
    accepted: list[int] = []
    made = HTTPProtocol.connection_made

    def seen(self: HTTPProtocol, transport: asyncio.Transport) -> None:
        connection = transport.get_extra_info("socket")
        accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(HTTPProtocol, "connection_made", seen)
    tls, verify = contexts(tmp_path) if secure else (None, False)
    address = reserved if shared else ANYWHERE

    async def ask() -> None:
        listener = Listener("public", address, Response("yes"), tls)
        listener.bind(shared=shared)
        serving = asyncio.create_task(listener.serve())
        async with httpx.AsyncClient(verify=verify) as client:
            assert (await client.get(listener.url)).text == "yes"
        listener.stop()
        await serving

    run(ask())

    assert accepted
    assert all(accepted)


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    Authority(folder).issue(
        "server",
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
        usages=[ExtendedKeyUsageOID.SERVER_AUTH],
    )
    return (
        server_context(folder / "server.pem", folder / "server-key.pem"),
        ssl.create_default_context(cafile=folder / "ca.pem"),
    )
