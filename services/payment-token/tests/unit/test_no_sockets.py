import asyncio
import socket

import pytest


def test_a_unit_test_opens_no_socket():
    with pytest.raises(Warning, match=r"tried to use socket\.socket"):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def test_a_unit_test_asks_no_name_server():
    with pytest.raises(Warning, match="tried to use socket"):
        socket.getaddrinfo("localhost", 443)


async def test_an_event_loop_still_runs():
    assert await asyncio.to_thread(lambda: "woken") == "woken"
