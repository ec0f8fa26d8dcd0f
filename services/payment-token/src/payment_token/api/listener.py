"""One address that is listened on: uvicorn, without the parts that belong to a process (signals, logging set-up)."""

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from payment_token.api.http_protocol import HTTPProtocol
from payment_token.api.listening_socket import listening_socket

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 15
_KEEP_ALIVE_SECONDS = 75


class Listener:
    def __init__(
        self, name: str, address: str, app: ASGIApp, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self._address = address
        options: dict[str, Any] = {} if tls is None else {"ssl_context_factory": lambda *_: tls}
        config = uvicorn.Config(
            app,
            http=HTTPProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            **options,
        )
        self._server = _QuietServer(config)
        self._socket: socket.socket | None = None
        self._secure = tls is not None

    def bind(self, *, shared: bool = False) -> None:
        """``shared``: on an address that is reserved for several processes. Raises ListenError when it cannot be had."""
        self._socket = listening_socket(self.name, self._address, shared=shared)

    @property
    def url(self) -> str:
        """Where it listens; with port 0 in its address, the port that the system chose."""
        if self._socket is None:
            raise RuntimeError("the listener is not bound")
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._secure else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def serve(self) -> None:
        """Serves until ``stop``, then lets the requests in progress finish."""
        if self._socket is None:
            raise RuntimeError("the listener is not bound")
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        self._server.should_exit = True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Several listeners share a process; the process handles its signals once.
        yield
